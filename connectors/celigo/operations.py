"""Celigo's operations on stacks with what its document says of each. Pure data."""

from connectors.base import Delivery, Operation

LIST = Operation(
    "list_stacks",
    "GET",
    "/v1/stacks",
    Delivery.READ,
    "Every stack of the account, all pages",
    "Returns a list of stacks configured in the account (server stacks and lambda stacks). "
    'When more pages remain, includes a <...>; rel="next" entry; absent on the final page.',
    sources=("stacks", "dependencies"),
)
CREATE = Operation(
    "create_stack",
    "POST",
    "/v1/stacks",
    Delivery.E2,
    "A new server or lambda stack",
    "Creates a new stack. For type=server, provide server.hostURI (and optional server.ipRanges). "
    "For type=lambda, provide AWS credentials and function details under lambda.",
    sinks=("stacks:create",),
)
GET = Operation(
    "get_stack_by_id",
    "GET",
    "/v1/stacks/{_id}",
    Delivery.READ,
    "One stack, whole",
    "Returns a single stack by id.",
    sources=("stacks",),
)
UPDATE = Operation(
    "update_stack",
    "PUT",
    "/v1/stacks/{_id}",
    Delivery.E1,
    "Replace a stack by a whole body, its secret filled in from the connection",
    "Updates a stack by id. You can update name, framework, and the config object for the active type. "
    "Secrets are write-only: provide a new secret value in the request to replace it; responses return masked values.",
    dangerous=True,
    sinks=("stacks:update",),
)
DELETE = Operation(
    "delete_stack",
    "DELETE",
    "/v1/stacks/{_id}",
    Delivery.E1,
    "Put a stack into the recycle bin, whoever uses it",
    "Deletes a stack. The stack is soft-deleted and retained in the recycle bin for 30 days before permanent removal.",
    dangerous=True,
    sinks=("stacks:delete",),
)
READ_TOKEN = Operation(
    "get_stack_system_token",
    "GET",
    "/v1/stacks/{_id}/systemToken",
    Delivery.READ,
    "Show the system token of a server stack, unmasked",
    "Returns the **actual** systemToken for a server stack. Use this endpoint to retrieve the real token.",
    dangerous=True,  # changes nothing, and shows a secret
)
ROTATE_TOKEN = Operation(
    "recycle_stack_system_token",
    "DELETE",
    "/v1/stacks/{_id}/systemToken",
    Delivery.E3,
    "Replace the system token of a server stack by a new one",
    "Rotates (recycles) the server stack's system token. "
    "After this operation, any clients using the old token must be updated to use the new token.",
    dangerous=True,
)
DEPENDENCIES = Operation(
    "list_stack_dependencies",
    "GET",
    "/v1/stacks/{_id}/dependencies",
    Delivery.READ,
    "What uses a stack; nothing for a stack that does not exist, too",
    "Returns the set of resources that depend on the specified resource. An empty object {} means no other resources depend on "
    "the target. This is also returned for a well-formatted but nonexistent id.",
    sources=("dependencies",),
    sinks=("stacks:delete",),
)

OPERATIONS = (LIST, CREATE, GET, UPDATE, DELETE, READ_TOKEN, ROTATE_TOKEN, DEPENDENCIES)

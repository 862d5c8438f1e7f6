"""Kragle's operations with what its document says of each. Pure data."""

from connectors.base import Delivery, Operation

LIST = Operation(
    "list_stacks",
    "GET",
    "/blockstacks",
    Delivery.READ,
    "One page of the stacks that may be seen: everybody's public ones, and ours",
    "This endpoint will return public Stacks owned by others, and your own public Stacks. "
    "If the request is authenticated, it will also return your own private Stacks.",
    sources=("stacks", "blocks", "jobs"),
)
GET = Operation(
    "get_stack",
    "GET",
    "/blockstacks/{stack}",
    Delivery.READ,
    "One stack, by id or name",
    "Retrieve information about a single Stack, looked up by id or name.",
    sources=("stacks", "blocks", "jobs"),
)
CREATE = Operation(
    "create_stack",
    "POST",
    "/blockstacks",
    Delivery.E2,
    "A new stack, with a first job where a schedule is named",
    "This endpoint it used to create a new Stack. On success, the id of the newly created Stack is returned in a JSON object",
    sinks=("stacks:create",),
)
UPDATE = Operation(
    "update_stack",
    "PUT",
    "/blockstacks/{stack}",
    Delivery.E1,  # without schedule_id; see client.update_stack
    "Change the given parameters of a stack and no others",
    "Used to modify an existing Stack. NB: Any optional parameters not passed in the request will be left unchanged.",
    sinks=("stacks:update",),
)

OPERATIONS = (LIST, GET, CREATE, UPDATE)

"""Stack AI's operations on connections with what the document says of each. Pure data."""

from connectors.base import Delivery, Operation

_ONE = "/connections/{connection_id}"
_V1 = "/api/v1/connections"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "list_available_connections",
        "GET",
        "/connections/available",
        Delivery.READ,
        "The types of connections that can be made",
        "Returns a list of available connection types with their configuration parameters.",
    ),
    Operation(
        "list_connections",
        "GET",
        "/connections",
        Delivery.READ,
        "One page of the connections",
        "List all available connections for the user in his current organization.",
    ),
    Operation(
        "create_connection",
        "POST",
        "/connections",
        Delivery.E2,
        "A new connection",
        "Create a new connection. The connection will be created in the user's current organization.",
    ),
    Operation("get_connection", "GET", _ONE, Delivery.READ, "One connection by its id", "Get Connection By Id"),
    Operation(
        "update_connection",
        "PUT",
        _ONE,
        Delivery.E1,
        "Replace a connection, its secrets included",
        "Update the connection with the given id.",
        dangerous=True,
    ),
    Operation("delete_connection", "DELETE", _ONE, Delivery.E1, "Remove a connection", "Delete a connection given its ID.", dangerous=True),
    Operation(
        "patch_connection",
        "PATCH",
        _ONE,
        Delivery.E1,
        "Rename a connection",
        "Patch a connection to update specific fields like name.",
    ),
    Operation(
        "get_connection_health",
        "GET",
        _ONE + "/health",
        Delivery.READ,
        "Whether a connection works",
        "Check the health of a connection.",
    ),
    Operation(
        "start_oauth",
        "POST",
        "/connections/oauth/start",
        Delivery.E3,  # what a started flow leaves behind is not documented
        "The address at which a person lets the provider in",
        "Return the OAuth URL for a connection provider.",
    ),
    Operation(
        "create_connection_from_callback",
        "POST",
        "/connections/oauth/callback",
        Delivery.E3,
        "A new connection from the single-use code that the provider gave",
        "This code is then sent to this endpoint, which uses it to create a new connection for said provider completing the OAuth flow.",
        dangerous=True,
    ),
    Operation(
        "update_connection_from_callback",
        "PUT",
        "/connections/oauth/callback/{connection_id}",
        Delivery.E3,
        "New OAuth credentials for a connection, from a single-use code",
        "Mirrors the creation flow but updates the specified connection with new OAuth credentials.",
        dangerous=True,
    ),
    Operation(
        "get_connection_resources",
        "GET",
        _ONE + "/resources",
        Delivery.READ,
        "Resources of a connection by their ids",
        "This endpoint returns the information for the selected resource in the connection.",
    ),
    Operation(
        "get_children_resources",
        "GET",
        _ONE + "/resources/children",
        Delivery.READ,
        "One page of what is one level below a resource, or at the root",
        "If no resource_id is provided, it will return the list of resources at the root of the connection. "
        "If a resource_id is provided, it will return the children of that resource. "
        "If the resource_id corresponds to a file, an empty list will be returned.",
    ),
    Operation(
        "search_resources",
        "GET",
        _ONE + "/resources/search",
        Delivery.READ,
        "One page of the resources that match a text",
        "Search for resources in the connection that match the query.",
    ),
    Operation(
        "list_connections_v1",
        "GET",
        _V1,
        Delivery.READ,
        "One page of the connections, sorted and filtered",
        "List all available connections for the user in his current organization. Supports dynamic field__operator filters.",
    ),
    Operation(
        "get_connection_rbac",
        "GET",
        _V1 + "/{connection_id}/rbac",
        Delivery.READ,
        "Who may use a connection",
        "Get the RBA info for a connection.",
    ),
    Operation(
        "update_connection_rbac",
        "PUT",
        _V1 + "/{connection_id}/rbac",
        Delivery.E1,
        "Give a subject a role on a connection",
        "Update the RBAC info for a connection.",
    ),
    Operation(
        "delete_connection_rbac",
        "DELETE",
        _V1 + "/{connection_id}/rbac",
        Delivery.E1,
        "Take a subject's role on a connection away",
        "Delete RBA info for the connection.",
        dangerous=True,
    ),
    Operation(
        "update_connection_organization_role",
        "PATCH",
        _V1 + "/{connection_id}/organization-role",
        Delivery.E1,
        "The role of everyone in the organization; null takes it away",
        "Organization-level role for the connection. Set to null to remove org-level access.",
    ),
)

OPERATION = {operation.name: operation for operation in OPERATIONS}

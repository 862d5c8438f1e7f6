"""Robostack's operations with what its document says of each. Pure data."""

from connectors.base import Delivery, Operation

_PATH = "/external/api/{app_uuid}/{resource}/"

FIND = Operation(
    "find_records",
    "POST",
    _PATH,
    Delivery.READ,
    "The records that match a selection, or all of them",
    "You can fetch any records from a resource from your application or an application that you have access to. "
    "It will then apply any filters that are sent in the request body.",
    sources=("{resource}",),
)
CREATE = Operation(
    "create_records",
    "PUT",
    _PATH,
    Delivery.E2,
    "One new record, or several in one call",
    "You can create records in a resource from your application or an application that you have access to. (Insert multiple records)",
    sinks=("{resource}:create",),
)
UPDATE = Operation(
    "update_records",
    "PATCH",
    _PATH,
    Delivery.E1,
    "Change some fields of the record that a selection by its key matches",
    "You can update records in a resource from your application or an application that you have access to. (Update Single Record)",
    dangerous=True,
    sinks=("{resource}:update",),
)
DELETE = Operation(
    "delete_records",
    "DELETE",
    _PATH,
    Delivery.E1,
    "Remove the record that a selection by its key matches",
    "You can delete records in a resource from your application or an application that you have access to. (Delete Single Record)",
    dangerous=True,
    sinks=("{resource}:delete",),
)
AGGREGATE = Operation(
    "aggregate_records",
    "POST",
    _PATH + "aggregation",
    Delivery.E3,  # nothing is documented of what a pipeline may do
    "Run an aggregation pipeline (documented as coming soon)",
    "You can run aggragations on data in resources of applications that you own or have access to. (Coming soon)",
)

OPERATIONS = (FIND, CREATE, UPDATE, DELETE, AGGREGATE)

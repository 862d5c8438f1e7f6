"""Stacker's operations with what their documents say of each. Pure data."""

from connectors.base import Delivery, Operation

_ONE = "/api/external/objects/{object_sid}"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "hello",
        "GET",
        "/api/external/hello/",
        Delivery.READ,
        "Whether the platform answers",
        "Health check endpoint. Does not require Account ID header.",
    ),
    Operation(
        "list_accounts",
        "GET",
        "/api/external/accounts/",
        Delivery.READ,
        "The accounts that the key sees",
        "Returns a list of accounts accessible by the authenticated integration key. Does not require the X-Account-Id header.",
        sources=("accounts",),
    ),
    Operation(
        "list_objects",
        "GET",
        "/api/external/objects/",
        Delivery.READ,
        "The objects (tables) of the stack",
        "Returns the list of objects (tables) associated with the specified account and stack.",
        sources=("{object}", "objects", "action_buttons"),
    ),
    Operation(
        "list_action_buttons",
        "GET",
        _ONE + "/action-buttons/",
        Delivery.READ,
        "The action buttons of an object",
        "Returns the list of action buttons configured for a given object.",
        sources=("action_buttons",),
    ),
    Operation(
        "search_records",
        "POST",
        _ONE + "/search/",
        Delivery.READ,
        "One page of records, filtered and ordered",
        "Returns a paginated list of records within the specified object. "
        "Supports filtering, sorting, field selection, and full-text search.",
        sources=("{object}",),
    ),
    Operation(
        "search_records_csv",
        "POST",
        _ONE + "/search/",
        Delivery.READ,
        "One page of records as CSV",
        "Returns JSON by default; set Accept: text/csv to receive CSV output.",
    ),
    Operation(
        "create_record",
        "POST",
        _ONE + "/records/",
        Delivery.E2,
        "A new record",
        "Creates a new record in the specified object.",
        sinks=("{object}:create",),
    ),
    Operation(
        "get_record",
        "GET",
        _ONE + "/records/{record_sid}/",
        Delivery.READ,
        "One record by its sid",
        "Returns a single record by its SID.",
        sources=("{object}",),
    ),
    Operation(
        "update_record",
        "PATCH",
        _ONE + "/records/{record_sid}/",
        Delivery.E1,
        "Change some fields of a record",
        "Partially updates a record. Only provided fields are updated.",
        sinks=("{object}:update",),
    ),
    Operation(
        "delete_record",
        "DELETE",
        _ONE + "/records/{record_sid}/",
        Delivery.E1,
        "Remove a record",
        "Deletes a record by its SID.",
        dangerous=True,
        sinks=("{object}:delete",),
    ),
    Operation(
        "bulk_upsert_records",
        "POST",
        _ONE + "/bulk-records/",
        Delivery.E2,
        "Make (and change) up to 1000 records",
        "Creates and updates up to 1000 records in a single request. "
        "Each record is provided as a JSON object with field API names as keys.",
        sinks=("{object}:create", "{object}:update"),
    ),
)

OPERATION = {operation.name: operation for operation in OPERATIONS}

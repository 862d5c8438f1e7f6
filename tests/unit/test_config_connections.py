"""What connections.yaml may say, and what is told when it says something else."""

from pathlib import Path

import pytest
from pydantic import Field

from connectors.errors import ConfigError
from connectors.settings import ConnectionSettings, Secret
from pipelines.config import load_connections


class ShopSettings(ConnectionSettings):
    """A connector's settings, as connectors write them."""

    token: Secret
    shop: str
    depth: int = Field(1, ge=1)
    pins: dict[str, Secret] = Field(default_factory=dict)


SHOP = """\
connections:
  shop:
    connector: shop
    base_url: https://shop.example
    token: ${SHOP_TOKEN}
    shop: north
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "connections.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def settings(folder: Path, text: str, environ: dict[str, str] | None = None, name: str = "shop") -> ShopSettings:
    values = load_connections(written(folder, text)).entry(name).settings(ShopSettings, environ or {})
    assert isinstance(values, ShopSettings)
    return values


def refusal(folder: Path, text: str, environ: dict[str, str] | None = None, name: str = "shop") -> str:
    with pytest.raises(ConfigError) as caught:
        settings(folder, text, environ, name)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(folder) + "/", "")


def test_a_reference_takes_the_value_of_its_variable(tmp_path: Path) -> None:
    assert settings(tmp_path, SHOP, {"SHOP_TOKEN": "s3cret"}).token.reveal() == "s3cret"


def test_a_default_holds_while_the_variable_is_unset_or_empty(tmp_path: Path) -> None:
    text = SHOP.replace("${SHOP_TOKEN}", "${SHOP_TOKEN:-demo}").replace("north", "${SHOP:-a}-${SHOP:-b}")
    assert settings(tmp_path, text).shop == "a-b"
    assert settings(tmp_path, text, {"SHOP": "", "SHOP_TOKEN": ""}).token.reveal() == "demo"
    assert settings(tmp_path, text, {"SHOP": "x"}).shop == "x-x"


def test_a_doubled_dollar_is_one_literal(tmp_path: Path) -> None:
    assert settings(tmp_path, SHOP.replace("north", "$${north} $5"), {"SHOP_TOKEN": "t"}).shop == "${north} $5"


def test_values_of_variables_are_not_read_as_references_again(tmp_path: Path) -> None:
    environ = {"SHOP_TOKEN": "file:${HOME}"}
    assert settings(tmp_path, SHOP, environ).token.reveal() == "file:${HOME}"


def test_a_secret_may_lie_in_a_file_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_bytes(b" s3cret \r\n")
    assert settings(tmp_path, SHOP.replace("${SHOP_TOKEN}", "file:${NAME}.txt"), {"NAME": "token"}).token.reveal() == " s3cret "


def test_only_the_connection_in_use_needs_its_variables(tmp_path: Path) -> None:
    other = "  other:\n    connector: shop\n    base_url: https://x.example\n    token: ${NOT_SET}\n    shop: south\n"
    assert settings(tmp_path, SHOP + other, {"SHOP_TOKEN": "t"}).shop == "north"
    assert "NOT_SET" in refusal(tmp_path, SHOP + other, {"SHOP_TOKEN": "t"}, "other")


def test_settings_can_be_looked_at_without_any_variable_set(tmp_path: Path) -> None:
    text = SHOP.replace("https://shop.example", "${SHOP_URL}") + "    depth: ${DEPTH}\n    streams: {a: {key: [id]}}\n"
    entry = load_connections(written(tmp_path, text)).entry("shop")
    seen = entry.settings(ShopSettings, {}, placeholders=True)
    assert isinstance(seen, ShopSettings)
    assert (seen.depth, seen.streams["a"].key, seen.base_url) == (1, ["id"], "https://unset.invalid")


def test_a_written_out_secret_is_reported_without_being_shown(tmp_path: Path) -> None:
    entry = load_connections(written(tmp_path, SHOP.replace("${SHOP_TOKEN}", "s3cret"))).entry("shop")
    (sentence,) = entry.written_out_secrets(ShopSettings)
    assert "connections.yaml:5: 'token'" in sentence
    assert "${SHOP_TOKEN}" in sentence
    assert "s3cret" not in sentence


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ("    shop:", "    shpo:", "connections.yaml:6: 'shpo' is not a setting of connection shop; did you mean 'shop'?"),
        ("    shop:", "    zzzzzz:", "connections.yaml:6: 'zzzzzz' is not a setting of connection shop; it takes connector, base_url,"),
        ("    shop: north\n", "", "connections.yaml:2: connection shop lacks 'shop', which it needs; add it"),
        ("connector: shop", "conector: shop", "connections.yaml:2: connection shop lacks 'connector', the platform it speaks to; add it"),
        ("north", "00123", "connections.yaml:6: 'shop' of connection shop must be text; put it in quotes"),
        ("${SHOP_TOKEN}", "00123", "connections.yaml:5: 'token' of connection shop must be text; put it in quotes"),
        (
            "${SHOP_TOKEN}",
            "${OTHER}",
            "connections.yaml:5: 'token' of connection shop needs the environment variable OTHER, which is not set;",
        ),
        ("${SHOP_TOKEN}", "${SHOP-TOKEN}", "connections.yaml:5: 'token' of connection shop has a ${ that is no reference; write ${NAME}"),
        (
            "${SHOP_TOKEN}",
            "file:none",
            "connections.yaml:5: 'token' of connection shop refers to the file none, which cannot be read (No such",
        ),
        ("  shop:\n", "  sh.op:\n", "connections.yaml:2: 'sh.op' cannot name a connection; use letters, digits, _ and -, a letter first"),
        ("  shop:\n", "  shop: 3\n  x:\n", "connections.yaml:2: connection shop lacks 'connector', the platform it speaks to; add it"),
        (
            "connections:",
            "conections:",
            "connections.yaml:1: 'conections' is not a setting of this file; connections go under 'connections:'",
        ),
        ("    shop: north", "    connector: x", "connections.yaml:6: 'connector' is written twice, first on line 3; keep one of them"),
        ("    shop: north", "    on: 1", "connections.yaml:6: the key 'on' is not text to YAML but bool; put it in quotes"),
        (
            "    shop: north",
            "\tshop: north",
            "connections.yaml:6: this is not plain YAML: found a tab character that violates indentation; indent",
        ),
        ("north", "*north", "connections.yaml:6: this is not plain YAML: found undefined alias; put text that starts with * in quotes"),
        ("north", "!!python/object:os.system x", "connections.yaml:6: this is not plain YAML: could not determine a constructor"),
        (
            "    shop: north",
            "    depth: 0\n    shop: n",
            "connections.yaml:6: 'depth' of connection shop is wrong: input should be greater",
        ),
        ("    shop: north", "    streams: {a: {kye: [id]}}\n    shop: n", "connections.yaml:6: 'kye' is not a setting of 'streams.a' of"),
        ("north", "n\x01", "connections.yaml:6: this is not "),
        ("north\n", "n\n---\nmore: 1\n", "this is not plain YAML: the file holds several documents; keep one, without a second ---"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_what_would_be_right(tmp_path: Path, found: str, instead: str, message: str) -> None:
    assert found in SHOP
    assert message in refusal(tmp_path, SHOP.replace(found, instead, 1), {"SHOP_TOKEN": "t"})


def test_no_message_shows_a_value_of_a_connection(tmp_path: Path) -> None:
    text = SHOP + "    depth: ${CANARY}\n"
    assert "c4n4ry" not in refusal(tmp_path, text, {"SHOP_TOKEN": "c4n4ry-token", "CANARY": "c4n4ry"})


def test_an_unknown_connection_is_told_with_the_nearest_and_who_asked(tmp_path: Path) -> None:
    file = load_connections(written(tmp_path, SHOP))
    with pytest.raises(ConfigError, match=r"^defs.yaml:3: there is no connection 'shpo' in .*connections.yaml; did you mean 'shop'\?$"):
        file.entry("shpo", wanted_by="defs.yaml:3")
    with pytest.raises(ConfigError, match=r"there is no connection 'zzz' in .*; it declares shop$"):
        file.entry("zzz")


def test_a_missing_file_says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*none.yaml; .*CROSSDOCK_CONNECTIONS$"):
        load_connections(tmp_path / "none.yaml")


def test_a_file_that_is_not_text_is_refused_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"connections:\n  a: \xff\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:2: this is not UTF-8 text; save the file as UTF-8"):
        load_connections(tmp_path / "c.yaml")


def test_an_empty_file_declares_nothing(tmp_path: Path) -> None:
    assert load_connections(written(tmp_path, "# nothing yet\n")).entries == {}


def test_aliases_cannot_make_a_file_endless(tmp_path: Path) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(ConfigError, match="aliases make this file endless"):
        load_connections(written(tmp_path, bomb))
    with pytest.raises(ConfigError, match="aliases make this file endless"):
        load_connections(written(tmp_path, "connections: &c\n  shop: *c\n"))


def test_deep_nesting_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_connections(written(tmp_path, "connections: " + "[" * 20_000 + "]" * 20_000))


def test_merged_keys_are_settings_like_others(tmp_path: Path) -> None:
    text = SHOP + "  south:\n    <<: {connector: shop, base_url: https://x.example, token: t}\n    shop: south\n"
    assert settings(tmp_path, text, name="south").shop == "south"


def test_named_secrets_are_references_each_and_shown_nowhere(tmp_path: Path) -> None:
    (tmp_path / "pin").write_text("7531\n", encoding="utf-8")
    text = SHOP + "    pins: {till: '${TILL_PIN}', safe: 'file:pin'}\n"
    given = settings(tmp_path, text, {"SHOP_TOKEN": "t", "TILL_PIN": "9024"})
    assert {name: pin.reveal() for name, pin in given.pins.items()} == {"till": "9024", "safe": "7531"}
    assert "9024" not in repr(given)
    assert load_connections(written(tmp_path, text)).entry("shop").written_out_secrets(ShopSettings) == []
    with pytest.raises(ConfigError, match="'pins' of connection shop needs the environment variable TILL_PIN"):
        settings(tmp_path, text, {"SHOP_TOKEN": "t"})


def test_a_named_secret_that_is_written_out_is_noticed(tmp_path: Path) -> None:
    text = SHOP + "    pins: {till: '${TILL_PIN}', safe: '7531'}\n"
    (told,) = load_connections(written(tmp_path, text)).entry("shop").written_out_secrets(ShopSettings)
    assert "'pins' of connection shop is written out" in told
    assert "7531" not in told


@pytest.mark.parametrize("pins", ["{till: 9024}", "{till: [a]}", "[a]", "9024"])
def test_named_secrets_that_are_no_texts_are_refused_without_being_shown(tmp_path: Path, pins: str) -> None:
    with pytest.raises(ConfigError, match="'pins' of connection shop must be text") as refused:
        settings(tmp_path, SHOP + f"    pins: {pins}\n", {"SHOP_TOKEN": "t"})
    assert "9024" not in str(refused.value)

"""Values that pass by Typer's conversion are those that it gives."""

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperCommand

from activity_cli.cli.app import COMMANDS, load_command
from activity_cli.cli.conversion import skip_conversions


@pytest.mark.parametrize("name", [name for names in COMMANDS.values() for name in names])
def test_defaults_and_texts_become_what_typer_makes_of_them(name: str) -> None:
    command = load_command(name)
    context = typer.Context(command, resilient_parsing=True)
    skip_conversions(command.params)

    for param in command.params:
        assert isinstance(param, typer.core.TyperOption | typer.core.TyperArgument)
        many = param.multiple or param.nargs == -1
        default = param.get_default(context)
        for value in [default, *((("odd name",), ()) if many else ("odd name",))]:
            param.callback = None
            ours = outcome(param.process_value, context, value)
            assert ours == outcome(type(param).process_value, param, context, value), param.name


def outcome(process: Any, *arguments: Any) -> tuple[type, Any]:
    """Return the value with its type, or the kind and text of the error."""
    try:
        value = process(*arguments)
    except typer.BadParameter as error:
        return type(error), error.format_message()
    return type(value), value


def test_a_path_that_may_not_be_read_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read everything
    params = {param.name: param for param in load_command("predict").params}
    context = typer.Context(TyperCommand("predict"))
    skip_conversions(params.values())

    with pytest.raises(typer.BadParameter, match="is not readable"):
        params["output"].process_value(context, str(tmp_path))
    assert params["output"].process_value(context, "new.csv") == Path("new.csv")

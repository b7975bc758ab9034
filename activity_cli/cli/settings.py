"""`activity settings`: a settings file with all defaults, to change and give to train."""

import typer

EXAMPLE = "activity settings > run.toml"


def settings() -> None:
    """Print a settings file with all defaults, for train and crossval.

    Change what you like, leave out what you do not, and give it to `activity train DATA
    --settings run.toml`. The settings.toml of a run folder is such a file as well.
    """
    from activity_cli.cli.settings_option import default_settings_text

    typer.echo(default_settings_text(), nl=False)

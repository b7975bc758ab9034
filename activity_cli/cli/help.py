"""`activity help`: the help of a command, or what several commands have in common."""

from typing import Annotated, Any

import typer

from activity_cli.errors import SettingsError

TOPICS = {
    "exit-codes": (
        "What the exit code of a command means.",
        """\
0    done; for predict, watch and merge: every file has a score
1    an error stopped the command: one line, and what to do next
2    usage error: an unknown option, a missing argument, a bad value
3    finished, but some files have no score (predict, evaluate, check, merge)
130  interrupted with Ctrl-C; run the same command again to resume

In a script:  activity predict footage/ --output scores.csv || test $? -eq 3""",
    ),
    "statuses": (
        "What the status of a file in the results means.",
        """\
ok           scored
short        fewer frames than the model samples: frames were repeated.
             Scored, low confidence
truncated    ends before its header promises. Scored on what was decoded
unreadable   damaged, empty, or not a video. No score
unsupported  a video, but there is no decoder for its codec. No score
missing      no such file. No score
crashed      the file crashed its worker, or the CNN failed on it. No score
timeout      decoding took longer than --timeout. No score""",
    ),
    "data": (
        "How labelled clips are given to train, crossval, evaluate and tune.",
        """\
A folder with one folder of clips per label:

    clips/wave/anna_1.mp4   clips/wave/ben_1.mp4   clips/run/anna_1.mp4

or a CSV file. Only path and label are required; paths are relative to it:

    path,label,group,split,start,end
    videos/day1.mp4,wave,anna,train,3.0,5.5

group   person, camera or source: clips of one group are never split, so that
        the model is measured on people or places that it was not trained on
split   train, val or test; without it the split is random
start   start of the piece in seconds; end is its end

or a file of BORIS, ELAN, CVAT and others: activity import --help""",
    ),
    "environment": (
        "Environment variables.",
        """\
ACTIVITY_CACHE_DIR  folder for cached features and prepared networks
ACTIVITY_MODEL      model of predict, watch and explain: --model
ACTIVITY_DEVICE     auto, cpu, cuda, cuda:1 or mps: --device
ACTIVITY_PROGRESS   auto, plain, json or none: --progress
ACTIVITY_WEIGHTS    folder with weights of networks, read before the network
ACTIVITY_OFFLINE    1: download nothing
ACTIVITY_DEBUG      1: show the traceback of every error, as -vv does""",
    ),
    "completion": (
        "How the shell completes commands, options, models, labels and columns.",
        """\
Install it once for the shell in use (bash, zsh, fish, PowerShell):

    activity --install-completion

Then open a new terminal. The Tab key completes commands and options, models
after --model (shipped ones and those below runs/), labels after --label,
--only and --alert, columns of the CSV after --group-column and --fold-column.""",
    ),
}
"""Topics: a summary and plain text of at most 78 columns."""


def help(
    context: typer.Context,
    topic: Annotated[
        str | None,
        typer.Argument(metavar="TOPIC", help=f"A command, or {', '.join(TOPICS)}."),
    ] = None,
) -> None:
    """Show the help of a command or a topic, such as exit-codes.

    Example:  activity help exit-codes
    """
    typer.echo(_text(topic, context.parent))


def _text(topic: str | None, group: Any) -> str:
    from activity_cli.cli.app import COMMANDS, load_command

    if topic is None:
        topics = "\n".join(f"  {name:12} {summary}" for name, (summary, _) in TOPICS.items())
        return f"{group.get_help()}\n\nTopics of activity help:\n{topics}"
    if topic in TOPICS:
        summary, text = TOPICS[topic]
        return f"{summary}\n\n{text}"
    commands = [name for names in COMMANDS.values() for name in names]
    if topic not in commands:
        raise SettingsError(
            f"There is no command or topic {topic!r}.",
            hint=f"Topics: {', '.join(TOPICS)}. `activity help` lists the commands.",
        )
    command = load_command(topic)
    return typer.Context(command, info_name=topic, parent=group).get_help()

"""All commands, and how they are run."""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from .._version import __version__
from . import decision_commands, outbox_commands, relay_commands, settings_commands
from .collector_command import collector
from .convert_command import convert
from .exit_code import CommandError
from .keys_command import keys

UsageError = CycloptsError


def _show_default(value: object) -> str | None:
    """Return the default as the help shows it: nothing where it is none."""
    return str(value) if value else None


app = App(
    name="vwo-async",
    help="See who gets what by a settings file of VWO FullStack or FME, and why.",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative="", show_default=_show_default),
)
app.command(settings_commands.app)
app.command(decision_commands.decide)
app.command(decision_commands.explain)
app.command(decision_commands.simulate)
app.command(decision_commands.find_users, name="users")
app.command(decision_commands.diff)
app.command(convert)
app.command(keys)
app.command(outbox_commands.app)
app.command(collector)
app.command(relay_commands.relay)
app.command(relay_commands.letters_app)
app.register_install_completion_command()


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code.

    Raises:
        UsageError: The arguments are not those of a command.
        Exception: What the command raises.
    """
    try:
        code = app(
            arguments,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except UnusedCliTokensError as error:
        # Most often the settings file, which other tools take without an option.
        extra = (error.unused_tokens or [""])[0]
        raise CommandError(
            f"{extra!r} is one argument too many: the settings file is given with -s FILE"
        ) from None
    return code if isinstance(code, int) else 0

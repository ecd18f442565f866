"""
The command ``partywall``.

Each of its commands is also a function: `partywall.cli.prove.prove_files`, `partywall.cli.explain.explain` and
`partywall.cli.ddl.ddl`.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of the process, and exit with its status."""
    try:
        from partywall.cli._commands import partywall  # needs the extra
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.stderr.write(
            "partywall: the command needs click, which is not installed.\nInstall it:  pip install 'partywall[cli]'\n"
        )
        sys.exit(2)
    partywall(prog_name="partywall")

"""Fetch and build the peers that no package of the system has: `python -m bench.peers [NAME …]`.

They go under build/bench, which git ignores. What Debian has is only named. Exit status 1 when a
peer is still missing.
"""

import argparse
import subprocess
import sys
from typing import Final

from bench.peers import PEERS

_COMMAND_SECONDS: Final = 300


def main(arguments: list[str] | None = None) -> int:
    """Install what was asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *PEERS], help="default: all")
    missing = 0
    for name in parser.parse_args(arguments).names or PEERS:
        peer = PEERS[name]("")
        try:
            for command in peer.install() if peer.missing() else ():
                subprocess.run(command, check=True, timeout=_COMMAND_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{name}: {error}", file=sys.stderr)
        how = peer.missing()
        missing += how is not None
        print(f"{name}: {'not here; ' + how if how else 'ready'}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m partywall.cli`` is the command ``partywall``."""

from partywall.cli import main

if __name__ == "__main__":
    main()

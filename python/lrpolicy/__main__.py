"""`python -m lrpolicy`: the command line."""

from lrpolicy.cli import main

main()

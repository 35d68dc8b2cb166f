"""`python -m crm_platform.cli`: the command where its script is not on the path."""

from crm_platform.cli import main

main()

"""python -m edgewise.cli"""

from edgewise.cli.main import main

main()

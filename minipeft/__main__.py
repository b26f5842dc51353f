"""python -m minipeft"""

from .cli import main

main()

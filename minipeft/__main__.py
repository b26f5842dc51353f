"""python -m minipeft"""

from minipeft_command import main

main()

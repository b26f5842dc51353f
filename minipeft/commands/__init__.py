"""The commands, one file each; `minipeft.cli` makes one program of them."""

"""The commands of `minipeft`, one file each."""

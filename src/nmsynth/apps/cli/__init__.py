"""The command line: one file for each command, each parses, calls one workflow and prints."""

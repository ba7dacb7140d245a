"""What each command does, a module each: it asks the library, and prints. A module is imported when
its command is chosen."""

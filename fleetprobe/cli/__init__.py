"""The roof: typer commands, one file per command family."""

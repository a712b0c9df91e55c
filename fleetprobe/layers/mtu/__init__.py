"""Path MTU: packets above some size vanish, and nobody says so."""

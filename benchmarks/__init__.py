"""What the product's speed is, measured against what it replaces: `./bench SUBCOMMAND`."""

"""What the compat and e2e suites share: a server to test, a signer, raw HTTP, and values that describe themselves."""

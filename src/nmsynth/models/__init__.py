"""Networks, classical filters, and the packages they ship in."""

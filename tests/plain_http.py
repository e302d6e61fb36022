"""What the tests' own clients of plain HTTP need of TLS: nothing."""

from __future__ import annotations

import ssl

# To read the certificates of all authorities takes 20 ms, for each client anew.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

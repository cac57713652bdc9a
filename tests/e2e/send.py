"""Sends numbered log lines with a public client library: send.py SENDER ADDRESS LINES.

Each line is `order N failed: connection refused`. What the library does when it is refused or cut off is its own affair; it is given time to
end in order, and the exit code is 0 whatever became of the lines.
"""

import logging
import sys


def loki_plain(address):
    """One JSON request for each line, no compression, no second try."""
    import logging_loki

    return logging_loki.LokiHandler(url=f"{address}/loki/api/v1/push", tags={"app": "peer"}, version="1")


def loki_gzip(address):
    """JSON in gzip, some lines at a time, from a thread of its own."""
    from loki_logger_handler.loki_logger_handler import LokiLoggerHandler

    return LokiLoggerHandler(url=f"{address}/loki/api/v1/push", labels={"app": "peer"}, timeout=1)


SENDERS = {"python-logging-loki": loki_plain, "loki-logger-handler": loki_gzip}


def main():
    sender, address, lines = sys.argv[1:]
    handler = SENDERS[sender](address)
    logger = logging.getLogger("peer")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logging.raiseExceptions = False
    for number in range(int(lines)):
        logger.error("order %d failed: connection refused", number)
    logging.shutdown()


if __name__ == "__main__":
    main()

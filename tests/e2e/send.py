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


def otlp_grpc(address):
    """OpenTelemetry's SDK over gRPC, in gzip, from a thread of its own."""
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

    return otlp(OTLPLogExporter(endpoint=address, insecure=True, compression=grpc.Compression.Gzip))


def otlp_http(address):
    """The same over HTTP."""
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    return otlp(OTLPLogExporter(endpoint=f"{address}/v1/logs", compression=Compression.Gzip))


def otlp(exporter):
    import atexit
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource

    provider = LoggerProvider(resource=Resource.create({"service.name": "peer", "k8s.pod.name": "peer-0"}), shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_export_batch_size=10))
    atexit.register(provider.shutdown)
    return LoggingHandler(logger_provider=provider)


SENDERS = {
    "python-logging-loki": loki_plain,
    "loki-logger-handler": loki_gzip,
    "opentelemetry-sdk (grpc)": otlp_grpc,
    "opentelemetry-sdk (http)": otlp_http,
}


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

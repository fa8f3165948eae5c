"""Column types that the tables share."""

from typing import Final

TEXT: Final = "String CODEC(ZSTD(1))"
NAME: Final = "LowCardinality(String) CODEC(ZSTD(1))"
COUNT: Final = "UInt32 CODEC(ZSTD(1))"
TIME: Final = "DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1))"

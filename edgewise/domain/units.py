"""Units. Seconds, GiB and KiB are the units of every figure; names end in `_s`, `_gib`, `_kib`, `_mib`."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

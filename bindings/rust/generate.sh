#!/bin/sh
# generate.sh [FILE]: the declarations of cpp/include/rekur/rekur.h, made by bindgen, into rekur-sys/src/bindings.rs or FILE.
set -eu
cd "$(dirname "$0")"
out=${1:-rekur-sys/src/bindings.rs}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/rekur"
# config.h of a library with all there is.
sed -e 's/^#cmakedefine01 \(REKUR_SHARED\|REKUR_COMPACT\)$/#define \1 0/; s/^#cmakedefine01 \([A-Z0-9_]*\)/#define \1 1/' \
  -e 's/@PROJECT_VERSION@/0/; s/@[A-Z_]*@//' ../../cpp/cmake/config.h.in >"$tmp/rekur/config.h"
bindgen ../../cpp/include/rekur/rekur.h -o "$tmp/bindings.rs" --use-core --ctypes-prefix core::ffi --size_t-is-usize \
  --no-layout-tests --no-prepend-enum-name --disable-header-comment \
  --allowlist-function 'rekur_.*' --allowlist-type 'rekur_.*' --allowlist-var 'REKUR_MAX_RANK|REKUR_UNKNOWN' \
  -- -std=c99 -fparse-all-comments -I"$tmp" -I../../cpp/include
{ echo "// Written by bindgen: ../../generate.sh"; grep -v '^pub type __int[0-9]*_t' "$tmp/bindings.rs"; } >"$tmp/named.rs"
if command -v rustfmt >/dev/null; then rustfmt --edition 2021 "$tmp/named.rs"; fi
cp "$tmp/named.rs" "$out"

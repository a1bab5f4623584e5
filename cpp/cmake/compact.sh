#!/bin/sh
# The static library as one object in which everything but the interface is local: REKUR_COMPACT. CMake calls it in place of ar.
#
#   compact.sh ARCHIVE AR NM OBJCOPY whole|merged COMPILER [FLAG...] -- OBJECT...
#
# whole: the objects hold GCC's intermediate code, which is compiled here as one program (compact.awk). merged: machine code, put
# together.
# Symbols of default visibility are the interface. They become hidden, as they are in the plain static library: what is linked into a
# shared library must not be exported from it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
archive=$1 ar=$2 nm=$3 objcopy=$4 how=$5 compiler=$6
shift 6
flags=
while [ "$1" != -- ]; do
  flags="$flags $1"
  shift
done
shift
rm -rf "$archive.parts"
mkdir "$archive.parts"
work=$(cd "$archive.parts" && pwd)
trap 'rm -rf "$work"' EXIT

case $how in
whole)
  case $("$compiler" -dumpmachine) in
  x86_64-* | aarch64-*)
    # GCC assembles with the `as` of this directory.
    cat >"$work/as" <<AS
#!/bin/sh
for input; do :; done
case \$input in *.s) awk -f "$here/compact.awk" "\$input" >"$work/all.s" && cp "$work/all.s" "\$input" ;; esac
exec "$("$compiler" -print-prog-name=as)" "\$@"
AS
    chmod +x "$work/as"
    flags="$flags -B$work/"
    ;;
  esac
  # "dyn": hidden symbols become local, as in a shared library. GCC 12's own kind for -r, nolto-rel, keeps them all.
  # shellcheck disable=SC2086
  "$compiler" $flags -fPIC -flto-partition=none -flinker-output=dyn -nostdlib -r -o "$work/all.o" "$@"
  ;;
merged)
  cat >"$work/merge.ld" <<'LD'
SECTIONS {
  .text 0 : { *(.text .text.*) }
  .rodata 0 : { *(.rodata .rodata.*) }
  .gcc_except_table 0 : { *(.gcc_except_table .gcc_except_table.*) }
  .data.rel.ro 0 : { *(.data.rel.ro .data.rel.ro.*) }
  .data 0 : { *(.data .data.*) }
  .bss 0 : { *(.bss .bss.*) }
}
LD
  # shellcheck disable=SC2086
  "$compiler" $flags -nostdlib -r -Wl,--force-group-allocation -Wl,-T,"$work/merge.ld" -o "$work/all.o" "$@"
  "$objcopy" --localize-hidden "$work/all.o"
  ;;
esac

"$nm" -g --defined-only --format=posix "$work/all.o" >"$work/symbols"
# Copies of the standard library's templates and the like are nobody else's, nor is what is in a room of the library, a namespace in
# rekur's.
interface='^(_Z[A-Z]*5rekur|rekur_)' room='^_Z[A-Z]*5rekur[0-9]+[a-z_]+[0-9]'
awk -v interface="$interface" -v room="$room" '$2 !~ /[VWu]/ && ($1 !~ interface || $1 ~ room && $1 !~ /5rekur6detail/) { print $1 }' \
  "$work/symbols" >"$work/local"
"$objcopy" --localize-symbols="$work/local" "$work/all.o"
# A reference of hidden visibility makes the symbol hidden where the two meet.
{
  awk -v interface="$interface" -v room="$room" '$1 ~ interface && ($1 !~ room || $1 ~ /5rekur6detail/) {
    print ".globl " $1 "\n.hidden " $1
  }' "$work/symbols"
  echo '.section .note.GNU-stack,"",%progbits'
} >"$work/hidden.s"
# shellcheck disable=SC2086
"$compiler" $flags -c -o "$work/hidden.o" "$work/hidden.s"
# shellcheck disable=SC2086
"$compiler" $flags -fno-lto -nostdlib -r -o "$work/rekur.o" "$work/all.o" "$work/hidden.o"
"$objcopy" --strip-unneeded "$work/rekur.o"
rm -f "$archive"
"$ar" qcs "$archive" "$work/rekur.o"

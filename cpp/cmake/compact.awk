# Of the library as one assembly (compact.sh), what makes its object larger than its code, for GCC's x86-64 and AArch64:
#
# - Constants go into the section of the code, behind it, so that the assembler knows the distance and no relocation is left.
# - A function of others that is called more than once is reached by one jump, which alone has a relocation; one of the interface
#   by a label that only the assembler sees.
# - A function through which no exception can pass has no unwind table: none of what it calls throws, directly or not. What calls by
#   an address may.
# - An unwind table tells how the frame is at calls, and nothing of the way between them.
# - The functions that handle no exception stand together, and have one table, in which each begins as the first did.

function branches(line, words) {  # to what: a symbol, "*" for an address, "" for no branch that leaves the function
  if (line !~ /^\t(call|j[a-z]+|bl?r?)\t/ || split(line, words, "\t") < 3) return ""
  if (words[2] ~ /^bl?r$/ || words[3] ~ /^\*/) return "*"
  sub(/@PLT$/, "", words[3])
  return words[3] ~ /^\.L/ ? "" : words[3]
}

function edge(caller, to, call) {
  edges++
  from[edges] = caller
  target[edges] = to
  calls[edges] = call
}

BEGIN {
  split("_ZdlPv _ZdlPvm free memcpy memmove memset memcmp memchr strlen strcmp aligned_alloc malloc getenv __errno_location " \
        "__tls_get_addr __cxa_guard_release __cxa_guard_abort __stack_chk_fail sched_yield abort", quiet, " ")
  for (i in quiet) calm[quiet[i]] = 1
}

# How the frame changes, kept back until the next call. What is undone before one is forgotten.
function frame(change) {
  if (change ~ /restore_state/)
    for (j = changes; j > 0; j--)
      if (change_at[j] ~ /remember_state/) {
        changes = j - 1
        return
      }
  if (change ~ /def_cfa_offset/)
    for (j = changes; j > 0 && change_at[j] !~ /_state|def_cfa[^_]|def_cfa_register/; j--)
      if (change_at[j] ~ /def_cfa_offset/) change_at[j] = ""
  change_at[++changes] = change
}

function print_frame() {
  for (j = 1; j <= changes; j++) {
    if (change_at[j] == "") continue
    print change_at[j]
    if (change_at[j] ~ /remember_state/) remembered++
    if (change_at[j] ~ /restore_state/) remembered--
  }
  changes = 0
}

# Where the code that table `t` is of goes: 3 for what has its table together with others, 2 for the rest.
function place(t) { return of[t] in needs_table && !(t in special) ? 3 : 2 }

# Begins and ends a function's part of the common table.
function begin_part() {
  if (!parts++) print "\t.cfi_startproc"
  else print "\t.cfi_restore_state"
  print "\t.cfi_remember_state"
}

function end_part() {
  changes = 0
  for (; remembered > 0; remembered--) print "\t.cfi_restore_state"
}

# The linker knows calls of __tls_get_addr by what is around them.
function jumps_to(name) { return uses[name] > 1 && name != "*" && name != "__tls_get_addr" && !(name in defined) }

{ line[NR] = $0 }
/^\tcall\t/ { x86 = 1 }
/^\t\.type\t.*[@%]function/ { name = $2; sub(/,.*/, "", name); is_function[name] = 1 }
/^[^ \t.][^ \t]*:/ {
  label = $1
  sub(/:.*/, "", label)
  defined[label] = 1
  if (is_function[label]) {
    current = label
    if (table && !of[table]) {
      of[table] = label  # a function's cold part begins with the table
      cold[table] = 1
    } else {
      of[table + 1] = label
      begins[NR] = table + 1
    }
  }
}
/^\t\.set\t/ {
  split($2, name_and_value, ",")
  alias[name_and_value[1]] = name_and_value[2]
  defined[name_and_value[1]] = 1
}
/^\t\.cfi_startproc/ { table++ }
/^\t\.cfi_lsda/ { guarded[table] = 1 }
/^\t\.cfi_(lsda|personality)/ { special[table] = 1 }
{
  to = branches($0)
  if (to != "") edge(current, to, $1 ~ /^(call|blr?)$/)
}

END {
  tables = table
  for (table = 1; table <= tables; table++) {
    name = of[table]
    calm[name] = !(table in guarded)
    if (table in guarded) needs_table[name] = 1
    if (name ~ /\.cold/) {  # reached by labels
      to = name
      sub(/\.cold.*/, "", to)
      edge(to, name, 0)
    }
  }
  for (i = 1; i <= edges; i++) {
    while (target[i] in alias) target[i] = alias[target[i]]
    uses[target[i]]++
  }
  do {
    changed = 0
    for (i = 1; i <= edges; i++)
      if (calm[from[i]] && !calm[target[i]]) {
        calm[from[i]] = 0
        changed = 1
      }
  } while (changed)
  for (i = 1; i <= edges; i++)
    if (calls[i] && !calm[target[i]]) needs_table[from[i]] = 1

  table = 0
  home = 2
  for (i = 1; i <= NR; i++) {
    text = line[i]
    if (text ~ /^\t\.cfi_/) {
      if (text ~ /startproc/ && (++table in cold)) print "\t.text " (home = place(table))
      if (!(of[table] in needs_table)) continue
      if (text ~ /endproc/ && place(table) == 2) changes = remembered = 0
      if (text !~ /startproc|endproc|personality|lsda/) {
        frame(text)
        continue
      }
      if (place(table) == 3) {
        if (text ~ /startproc/) begin_part()
        else end_part()
        continue
      }
    } else if (text ~ /^\t\.section\t\.rodata/) {
      text = "\t.text 1"
    } else if (text ~ /^\t(\.section\t)?\.text/) {
      text = "\t.text " home
    } else if (text ~ /^\t\.section\t\.data\.rel(\.ro)?\.local/) {
      text = "\t.section\t.data.rel.ro,\"aw\""
    } else if (text ~ /^\t\.(weak|hidden)\tDW\.ref\./) {
      continue
    } else if ((to = branches(text)) != "") {
      if (text ~ /^\t(call|blr?)\t/) print_frame()
      while (to in alias) to = alias[to]
      before = substr(text, 1, index(substr(text, 2), "\t") + 1)
      if (to in defined) text = before ".Lhere_" to
      else if (jumps_to(to)) text = before ".Ljump_" to
    } else if (text ~ /^[^ \t.][^ \t]*:/) {
      label = text
      sub(/:.*/, "", label)
      if (label in uses) text = ".Lhere_" label ":\n" text
      # At even addresses, as the pointers to members of x86-64 need it: what GCC said of that stands where the function was.
      if (i in begins) text = "\t.text " (home = place(begins[i])) "\n\t.p2align 1\n" text
    }
    print text
  }
  if (parts) print "\t.text 3\n\t.cfi_endproc"
  print "\t.text 2"
  for (name in uses)
    if (jumps_to(name)) print ".Ljump_" name ":\n" (x86 ? "\tjmp\t" name "@PLT" : "\tb\t" name)
}

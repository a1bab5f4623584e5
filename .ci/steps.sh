# Sourced by .ci/run and .ci/embedded: steps that say how long each took, by the clock and in processor time.
# Processor time is that of the shell and of all that it has waited for, so it hardly changes with what else the machine does.
summary=()

# CPU seconds so far, whole ones. `times` must run in this shell, a subshell's begin anew.
processor_seconds() {
  local file=$tmp/times.$BASHPID
  times >"$file"
  awk '{ for (k = 1; k <= 2; ++k) { split($k, part, "[ms]"); sum += 60 * part[1] + part[2] } } END { printf "%d\n", sum }' "$file" \
    >"$file.sum"
  read -r processor <"$file.sum"
}

# finish: says what the step that began last has taken, if one has.
finish() {
  processor_seconds
  [[ -z ${step_name:-} ]] || summary+=("$(printf '%5d s, of processors %5d s: %s' $((SECONDS - step_clock)) $((processor - step_processor)) "$step_name")")
  [[ -z ${step_name:-} ]] || printf '    took %s\n' "${summary[-1]% s: *} s"
  step_clock=$SECONDS step_processor=$processor step_name=
}

step() {
  finish
  step_name=$*
  printf "\n${step_mark:-===} %s (after %d s, of processors %d s)\n" "$*" "$SECONDS" "$processor"
}

# report: all steps with their times, and the whole.
report() {
  finish
  printf '\n'
  printf '%s\n' "${summary[@]}"
  printf '%5d s, of processors %5d s: %s\n' "$SECONDS" "$processor" "$1"
}

# discard PATH...: at the end, whatever it was. What somebody still writes to stays there and does not turn success into failure.
discard() { rm -rf "$@" || true; }

have() { command -v "$1" >/dev/null 2>&1; }
skip() { printf 'left out: %s\n' "$*"; }

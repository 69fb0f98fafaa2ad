# Sourced by scripts that serve models for their own use: sets `work`, a folder that goes away with the script, and ends
# with it whatever server still runs.

work=$(mktemp -d)
server=

end_server_and_work() {
  if [ -n "$server" ]; then kill -TERM "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap end_server_and_work EXIT

# start_server HACHI MODEL...: serves entries of the configuration's list on free ports and waits until all are loaded;
# sets `server`, `grpc` and `metrics`. Its log is $work/log.
start_server() {
  local hachi=$1
  shift
  {
    echo 'server: {grpc: "127.0.0.1:0", metrics: "127.0.0.1:0", drain: {delay: 0s}}'
    echo 'models:'
    printf '  - {%s}\n' "$@"
  } >"$work/server.yaml"
  "$hachi" serve --config "$work/server.yaml" >"$work/addresses" 2>"$work/log" &
  server=$!
  for _ in $(seq 400); do
    if ! kill -0 "$server" 2>/dev/null; then cat "$work/log" >&2; exit 1; fi
    if [ "$(grep -c ': loaded, ' "$work/log")" = $# ]; then break; fi
    sleep 0.05
  done
  grpc=$(sed -n 's/^grpc: //p' "$work/addresses")
  metrics=$(sed -n 's/^metrics: //p' "$work/addresses")
}

# Drains the server; fails unless it exits 0.
stop_server() {
  kill -TERM "$server"
  wait "$server"
  server=
}

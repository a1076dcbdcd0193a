# Sourced by tests/run.sh, examples/demo.sh and .ci/run.

# need PROGRAM:PACKAGE ... : installs the Debian packages of programs (or of files, by their whole path) that are missing.
need() {
  local pair program missing=""
  for pair in "$@"; do
    program=${pair%%:*}
    command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || [ "${program#/}" != "$program" -a -e "$program" ] || missing="$missing ${pair#*:}"
  done
  PATH=$PATH:/usr/sbin:/sbin
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing:$missing. Install these packages (on Debian, as root: apt-get install$missing)" >&2
    return 1
  fi
  echo "installing:$missing" >&2
  apt-get update -qq >&2
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >&2
}

# need_cargo: says how to get Rust. It is not installed from here: which toolchain a machine has is its owner's choice.
need_cargo() {
  [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ] && PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  command -v cargo >/dev/null && return 0
  cat >&2 <<END
cargo is missing. vxmesh needs the Rust toolchain that rust-toolchain.toml names; Debian's own is older. Get rustup from
https://rustup.rs or from Debian (apt-get install rustup), then run this again: the right toolchain is fetched by itself.
END
  return 1
}

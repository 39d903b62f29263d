# Sourced by the scripts that run tests: finds the tools they need, and installs what is missing.
#
#   need cc venv rclone     each tool is looked for by itself; on Debian the missing ones are installed, if this
#                           user may do that; otherwise the script ends and names them

# Debian's package for each tool.
declare -A PACKAGE_OF=(
    [cc]="gcc libc6-dev" [c++]="g++" [python3]=python3 [venv]=python3-venv
    [rclone]=rclone [restic]=restic [s3cmd]=s3cmd [openssl]=openssl
    [mkfs.ext4]=e2fsprogs [mount]=mount [prlimit]=util-linux [xargs]=findutils
    [java]=openjdk-17-jdk-headless [javac]=openjdk-17-jdk-headless [mvn]=maven
)

# Administrators' tools are outside an ordinary user's PATH on Debian.
PATH="$PATH:/usr/sbin:/sbin"

fail() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

# Says that something is left out. In CI that is a failure, unless tests/support/skips.txt lists the reason.
skip() {
    echo "left out: $1"
    [ "${CI:-}" != true ] ||
        awk -F ' [|] ' -v reason="$1" '!/^#/ && NF && index(reason, $1) == 1 { found = 1 } END { exit !found }' \
            tests/support/skips.txt || fail "CI may leave nothing out for this reason: see tests/support/skips.txt"
}

# True if the tool works: a compiler without its library, or python3 without venv, is no use.
has() {
    case "$1" in
        cc) cc -x c -o /dev/null - <<<'#include <stdlib.h>
            int main(void) { return EXIT_SUCCESS; }' ;;
        c++) c++ -x c++ -o /dev/null - <<<'#include <string>
            int main() { return 0; }' ;;
        venv) python3 -c 'import ensurepip, venv' ;;
        *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

need() {
    local missing=() packages=() tool
    for tool; do
        has "$tool" && continue
        missing+=("$tool")
        packages+=(${PACKAGE_OF[$tool]})
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "missing ${missing[*]}: install them with this system's package manager"
    echo "installing ${packages[*]}"
    as_root apt-get update -qq
    as_root apt-get install -y -qq --no-install-recommends "${packages[@]}"
    for tool in "${missing[@]}"; do
        has "$tool" || fail "$tool is still missing after ${PACKAGE_OF[$tool]} was installed"
    done
}

# Runs a command as root, or says what to run.
as_root() {
    local prefix=()
    [ "$(id -u)" -eq 0 ] || prefix=(sudo -n)
    [ ${#prefix[@]} -eq 0 ] || sudo -n true 2>/dev/null || fail "this user can't install packages: as root, run: $*"
    "${prefix[@]}" env DEBIAN_FRONTEND=noninteractive "$@" >/dev/null
}

# Cargo, its components named as arguments, and the linker that Rust calls.
need_rust() {
    command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"
    need cc
    local component
    for component; do
        cargo "$component" --version >/dev/null 2>&1 && continue
        command -v rustup >/dev/null || fail "cargo $component is missing, and so is rustup to install it"
        # The component of `cargo fmt` is rustfmt.
        rustup component add "${component/#fmt/rustfmt}"
    done
}

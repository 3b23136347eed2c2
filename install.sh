#!/usr/bin/env bash
# Builds slm for this machine and installs it under a prefix; on Debian and Ubuntu it also installs what the build needs.
# It knows nothing of models: it neither pulls nor removes any.
set -euo pipefail

# The processor switches of ggml: the variable, then the flags of /proc/cpuinfo that it needs, then its compiler flag.
# The sets are those of ggml/src/ggml-cpu/CMakeLists.txt. First x86-64-v3, the default of .cargo/config.toml.
V3_SWITCHES=(
    "GGML_SSE42 sse4_2 -msse4.2"
    "GGML_AVX avx -mavx"
    "GGML_AVX2 avx2 -mavx2"
    "GGML_BMI2 bmi2 -mbmi2"
    "GGML_FMA fma -mfma"
    "GGML_F16C f16c -mf16c"
)
EXTRA_SWITCHES=(
    "GGML_AVX_VNNI avx_vnni -mavxvnni"
    "GGML_AVX512 avx512f,avx512cd,avx512vl,avx512dq,avx512bw -mavx512bw"
    "GGML_AVX512_VBMI avx512f,avx512bw,avx512vbmi -mavx512vbmi"
    "GGML_AVX512_VNNI avx512f,avx512bw,avx512vl,avx512_vnni -mavx512vnni"
    "GGML_AVX512_BF16 avx512f,avx512bw,avx512vl,avx512_bf16 -mavx512bf16"
)

usage() {
    cat <<'END'
Builds slm for this machine and installs it (Debian and Ubuntu).

Usage: ./install.sh [OPTIONS]

  --prefix DIR      install under DIR (default: ~/.local)
  --features LIST   cargo features: cuda, vulkan
  --deps-only       install only what the build needs, build nothing
  --portable        build for any x86-64-v3 processor, not for this one
  --uninstall       remove what was installed under the prefix; models stay
  --help            show this

CARGO_BUILD_JOBS sets how many jobs compile at once (default: all processors). A GGML_* variable that is set stays.
END
}

main() {
    parse_arguments "$@"
    here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
    home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6 || true)}
    if [[ $action == uninstall ]]; then
        uninstall
        return
    fi
    require_known_system
    [[ $action == deps ]] || require_usable_prefix
    ensure_packages
    ensure_rust
    if [[ $action == deps ]]; then
        say "what the build needs is there"
        return
    fi
    choose_processor
    build
    install_files
    say_next
}

say() { printf 'install.sh: %s\n' "$*"; }
die() {
    printf 'install.sh: error: %s\n' "$*" >&2
    exit 1
}
misused() {
    printf 'install.sh: error: %s (see ./install.sh --help)\n' "$*" >&2
    exit 2
}
has() { command -v "$1" >/dev/null 2>&1; }
absolute() { if [[ $1 == /* ]]; then printf '%s' "$1"; else printf '%s/%s' "$PWD" "$1"; fi; }

parse_arguments() {
    action=install features='' processor=native prefix=''
    while (($#)); do
        case $1 in
        --help | -h) usage && exit 0 ;;
        --prefix=*) set -- --prefix "${1#*=}" "${@:2}" && continue ;;
        --features=*) set -- --features "${1#*=}" "${@:2}" && continue ;;
        --prefix)
            [[ -n ${2:-} ]] || misused "--prefix needs a folder"
            prefix=$(absolute "$2") && shift
            ;;
        --features)
            [[ -n ${2:-} ]] || misused "--features needs a list, such as \`cuda\`"
            features=${2// /,} && shift
            ;;
        --deps-only) action=deps ;;
        --uninstall) action=uninstall ;;
        --portable) processor=portable ;;
        *) misused "\`$1\` is not an option" ;;
        esac
        shift
    done
    [[ ,$features, != *,metal,* ]] || misused "the feature \`metal\` is for macOS"
    if [[ -z $prefix && $action != deps ]]; then
        [[ -n ${HOME:-} ]] || misused "HOME is not set, so there is no default prefix: give --prefix DIR"
        prefix=$HOME/.local
    fi
}

rust_wanted() { sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$here/Cargo.toml"; }

require_known_system() {
    local ids=''
    [[ ! -r /etc/os-release ]] || ids=$(sed -n 's/^ID\(_LIKE\)\?=//p' /etc/os-release | tr -d '"' | tr '\n' ' ')
    [[ " $ids" == *" debian "* || " $ids" == *" ubuntu "* ]] && has apt-get && return
    die "this script knows Debian and Ubuntu only, not \`${ids% }\`. Elsewhere install cmake, make, a C++" \
        "compiler with the static libstdc++.a and libgomp.a, libclang with its headers, and Rust $(rust_wanted) or newer;" \
        "then run in '$here': cargo build --release --locked"
}

# Asked before the minutes of building, not after them.
require_usable_prefix() {
    local folder=$prefix
    while [[ ! -e $folder ]]; do folder=$(dirname "$folder"); done
    [[ -d $folder && -w $folder ]] || die "cannot write under '$prefix' ('$folder'): choose another folder with --prefix DIR"
    [[ ! -e $prefix/bin/slm || -f $prefix/share/slm/installed ]] ||
        die "'$prefix/bin/slm' was not installed by this script: move it away, or choose another folder with --prefix DIR"
}

# --- packages --------------------------------------------------------------------------------------------------------

# The folders of LLVM, wherever bindgen's clang-sys looks for a libclang.
llvm_folders() {
    local config=${LLVM_CONFIG_PATH:-llvm-config} folder
    ! has "$config" || printf '%s/lib\n' "$("$config" --prefix)"
    for folder in /usr/lib/llvm-*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib /usr/local/lib; do
        [[ ! -d $folder ]] || printf '%s\n' "$folder"
    done
}

# bindgen loads the newest libclang at run time, and libclang needs clang's own headers (stddef.h) of the same version,
# which are in another package; without them the build ends minutes later with "stddef.h not found".
missing_libclang() {
    [[ -z ${LIBCLANG_PATH:-} ]] || return 0
    local folder library header newest=0
    while read -r folder; do
        for library in "$folder"/libclang.so* "$folder"/libclang-[0-9]*.so*; do
            [[ -e $library && $(basename "$(readlink -f "$library")") =~ ([0-9]+) ]] || continue
            ((newest >= BASH_REMATCH[1])) || newest=${BASH_REMATCH[1]}
        done
    done < <(llvm_folders)
    for header in /usr/lib/llvm-"$newest"/lib/clang/*/include/stddef.h /usr/lib*/clang/"$newest"*/include/stddef.h; do
        [[ ! -e $header ]] || return 0
    done
    if ((newest)); then echo "libclang-common-$newest-dev"; else echo libclang-dev; fi
}

# The C compiler's driver is asked, as the build script asks it.
has_static_runtimes() {
    local archive
    has "${CC:-cc}" && has "${CXX:-c++}" || return 1
    for archive in libstdc++.a libgomp.a; do
        [[ -f $("${CC:-cc}" --print-file-name="$archive") ]] || return 1
    done
}

missing_packages() {
    has cmake || echo cmake
    has make || echo make
    has_static_runtimes || echo g++
    missing_libclang
    if [[ ,$features, == *,vulkan,* ]]; then
        has glslc || echo glslc
        [[ -e /usr/include/vulkan/vulkan.h ]] || echo libvulkan-dev
        [[ -d /usr/include/spirv ]] || echo spirv-headers
    fi
}

ensure_packages() {
    local missing
    if [[ ,$features, == *,cuda,* ]] && ! has nvcc; then
        [[ ! -x /usr/local/cuda/bin/nvcc ]] || PATH=/usr/local/cuda/bin:$PATH
        has nvcc || die "the feature \`cuda\` needs NVIDIA's CUDA toolkit (nvcc): see https://developer.nvidia.com/cuda-downloads"
    fi
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]})) || return 0
    say "missing: ${missing[*]}"
    apt_install "${missing[@]}"
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]} == 0)) || die "installed, but still not found: ${missing[*]}." \
        "Are CC, CXX or LLVM_CONFIG_PATH set to another compiler? Unset them and run this again"
}

apt_install() {
    local as_root=()
    if ((EUID != 0)); then
        has sudo || die "installing packages needs root, and there is no sudo. Ask an administrator to run:" \
            "apt-get update && apt-get install --no-install-recommends $*"
        as_root=(sudo)
        say "this needs root, so sudo is used and may ask for your password"
    fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive)
    local options=(-y -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    say "running: ${as_root[*]} apt-get install --no-install-recommends $*"
    # A broken list of some other vendor must not stop us: what counts is whether the install succeeds.
    "${as_root[@]}" apt-get update "${options[@]}" </dev/null || say "apt-get update reported errors; going on"
    "${as_root[@]}" apt-get install "${options[@]}" --no-install-recommends "$@" </dev/null ||
        die "apt-get could not install: $*. Read its message above, repair that, and run this again"
}

# --- Rust ------------------------------------------------------------------------------------------------------------

at_least() { [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }
cargo_version() { (cd "$here" && cargo --version 2>/dev/null) | sed -n 's/^cargo \([0-9.]*\).*/\1/p' || true; }
rust_is_ready() {
    local version
    version=$(cargo_version)
    [[ -n $version ]] && at_least "$version" "$(rust_wanted)"
}

ensure_rust() {
    local cargo_bin=${CARGO_HOME:-$home/.cargo}/bin version
    if ! has cargo && [[ -x $cargo_bin/cargo ]]; then
        say "cargo is in $cargo_bin, which is not on PATH; for cargo in this shell: export PATH=\"$cargo_bin:\$PATH\""
        PATH=$cargo_bin:$PATH
    fi
    rust_is_ready && return
    if has rustup; then
        adopt_toolchain
        rust_is_ready && return
        version=$(cargo_version)
        say "Rust $(rust_wanted) or newer is needed, found: ${version:-none}; rustup installs stable"
        rustup toolchain install stable --profile minimal --no-self-update </dev/null ||
            die "rustup could not install the stable toolchain; see its message above"
        rustup default >/dev/null 2>&1 || rustup default stable
        if ! rust_is_ready; then
            say "your default toolchain stays as it is; for cargo in this shell: export RUSTUP_TOOLCHAIN=stable"
            export RUSTUP_TOOLCHAIN=stable
        fi
    else
        install_rust "$cargo_bin"
    fi
    rust_is_ready || die "cargo still is not $(rust_wanted) or newer: look at \`cargo --version\` in '$here'"
}

# rustup keeps its toolchains under the home folder. Where HOME is not the one that rustup was installed for (a service, a
# container, sudo), its cargo stands on PATH and finds no toolchain. Then the one beside that cargo is linked in.
adopt_toolchain() {
    local owner folder sysroot
    rustup default >/dev/null 2>&1 && return
    owner=$(dirname "$(dirname "$(dirname "$(command -v rustup)")")")
    for folder in "$owner/.rustup" "$owner/rustup"; do
        [[ -d $folder/toolchains ]] || continue
        sysroot=$(cd "$here" && RUSTUP_HOME=$folder rustc --print sysroot 2>/dev/null) || continue
        say "rustup has no toolchain for HOME=${HOME:-}; linking the one in $sysroot"
        rustup toolchain link found "$sysroot" && rustup default found
        return
    done
}

install_rust() {
    local pair version
    for pair in "rustc cargo" "rustc-web cargo-web"; do
        version=$(apt-cache policy "${pair% *}" 2>/dev/null | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p')
        at_least "${version:-0}" "$(rust_wanted)" || continue
        say "missing: Rust; this system's $version is new enough"
        # shellcheck disable=SC2086 # two package names
        apt_install $pair
        hash -r
        return
    done
    # What https://sh.rustup.rs gives, from the host that the toolchain comes from anyway: one host less to be let through.
    local url=https://static.rust-lang.org/rustup/rustup-init.sh
    say "missing: Rust $(rust_wanted) or newer; installing it into ${1%/bin} with rustup: $url"
    has curl || apt_install curl ca-certificates
    curl --proto '=https' --tlsv1.2 -fsSL "$url" | sh -s -- -y -q --profile minimal ||
        die "rustup could not be installed; see https://rustup.rs, then run this again"
    PATH=$1:$PATH
    say "a new shell has cargo on PATH; for this one: export PATH=\"$1:\$PATH\""
}

# --- the build -------------------------------------------------------------------------------------------------------

# Sets the switches in which this processor differs from x86-64-v3, and `target`: such a build has a folder of its own, so
# that it and a plain `cargo test` do not compile llama.cpp anew after each other.
choose_processor() {
    target=$(absolute "${CARGO_TARGET_DIR:-$here/target}")
    [[ $(uname -m) == x86_64 && -r /proc/cpuinfo ]] || return 0
    local flags switch name added='' lacking=''
    flags=" $(sed -n 's/^flags[^:]*: //p' /proc/cpuinfo | head -n 1) "
    for switch in "${V3_SWITCHES[@]}"; do
        name=${switch%% *}
        [[ -z ${!name:-} ]] || continue
        usable "$switch" || { lacking+=" $name" && export "$name=OFF"; }
    done
    [[ -z $lacking || $processor != portable ]] ||
        die "a portable build needs an x86-64-v3 processor to run, which this one is not (it lacks${lacking//GGML_/})." \
            "Leave --portable out"
    if [[ -n $lacking ]]; then
        say "this processor is below x86-64-v3 (it lacks${lacking//GGML_/}): building without these, it will be slow"
    elif [[ $processor == native ]]; then
        for switch in "${EXTRA_SWITCHES[@]}"; do
            name=${switch%% *}
            [[ -n ${!name:-} ]] || ! usable "$switch" || { added+=" $name" && export "$name=ON"; }
        done
        [[ -z $added ]] || say "building for this processor: x86-64-v3 and${added//GGML_/}"
    fi
    [[ -z $lacking$added ]] || target=$target/this-processor
}

# Whether the processor has all flags of a switch (`flags` is the caller's) and the compiler knows it.
usable() {
    local needed option flag
    read -r _ needed option <<<"$1"
    for flag in ${needed//,/ }; do
        [[ $flags == *" $flag "* ]] || return 1
    done
    "${CXX:-c++}" "$option" -x c++ -fsyntax-only /dev/null 2>/dev/null
}

build() {
    export CARGO_BUILD_JOBS=${CARGO_BUILD_JOBS:-$(nproc)}
    export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$CARGO_BUILD_JOBS}
    say "building with $CARGO_BUILD_JOBS jobs; llama.cpp takes some minutes the first time"
    (
        cd "$here" && unset CARGO_BUILD_TARGET
        cargo build --release --locked --bin slm --target-dir "$target" ${features:+--features "$features"} </dev/null
    ) || die "the build failed; see the first error above. Running this again continues where it stopped"
}

# --- the files -------------------------------------------------------------------------------------------------------

# Everything is made complete elsewhere, copied beside its place and renamed into it: whatever happens, a file is the old or
# the new one, and a running slm keeps the program it was started from. The list of files comes first and names old and new
# ones, so that --uninstall finds all of them however this ends.
install_files() {
    local list=$prefix/share/slm/installed file changed=0
    temporary=''
    umask 022
    work=$(mktemp -d)
    trap 'rm -rf "$work" ${temporary:+"$temporary"}' EXIT
    trap 'exit 130' INT TERM HUP
    stage_files
    listed | LC_ALL=C sort -u - "$work/list" >"$work/all"
    cmp -s "$work/all" "$list" || replace "$work/all" "$list"
    while read -r file; do
        cmp -s "$work/files/$file" "$prefix/$file" && continue
        replace "$work/files/$file" "$prefix/$file"
        changed=$((changed + 1))
    done <"$work/list"
    while read -r file; do rm -f "${prefix:?}/$file"; done < <(LC_ALL=C comm -13 "$work/list" "$work/all")
    cmp -s "$work/list" "$list" || replace "$work/list" "$list"
    if ((changed)); then
        say "installed $("$prefix/bin/slm" --version) with completions and manual under $prefix ($changed files)"
    else
        say "$("$prefix/bin/slm" --version) was under $prefix already; nothing changed"
    fi
}

stage_files() {
    local slm=$target/release/slm staging=$work/files
    mkdir -p "$staging"/{bin,share/{bash-completion/completions,zsh/site-functions,fish/vendor_completions.d,man/man1}}
    install -m 755 "$slm" "$staging/bin/slm"
    "$slm" completions bash >"$staging/share/bash-completion/completions/slm"
    "$slm" completions zsh >"$staging/share/zsh/site-functions/_slm"
    "$slm" completions fish >"$staging/share/fish/vendor_completions.d/slm.fish"
    "$slm" man "$staging/share/man/man1"
    (cd "$staging" && find . -type f -printf '%P\n' | LC_ALL=C sort) >"$work/list"
}

replace() {
    mkdir -p "$(dirname "$2")"
    temporary=$2.new$$
    cp -p "$1" "$temporary"
    mv -fT "$temporary" "$2"
    temporary=''
}

# The files, relative to the prefix, that an earlier run wrote. Only what this script could have written is believed.
listed() {
    local list=$prefix/share/slm/installed file
    [[ -f $list ]] || return 0
    while read -r file; do
        [[ $file == @(bin|share)/* && $file != *..* ]] || die "'$list' names \`$file\`, which is not ours: repair or remove that list"
        printf '%s\n' "$file"
    done <"$list"
}

say_next() {
    local slm=slm
    if [[ :$PATH: != *":$prefix/bin:"* ]]; then
        slm=$(printf '%q' "$prefix/bin/slm")
        say "$prefix/bin is not on PATH; add it with: echo 'export PATH=\"$prefix/bin:\$PATH\"' >> ~/.profile"
    fi
    printf 'next: %s run triage "I was charged twice for order 1182"\n' "$slm"
}

uninstall() {
    local list=$prefix/share/slm/installed file files removed=0
    [[ -f $list ]] || die "nothing to remove: there is no '$list'. If slm is elsewhere, give its --prefix DIR"
    files=$(listed)
    for file in $files; do
        [[ ! -e $prefix/$file ]] || { rm -f "$prefix/$file" && removed=$((removed + 1)); }
        (cd "$prefix" && rmdir -p --ignore-fail-on-non-empty "$(dirname "$file")" 2>/dev/null) || true
    done
    rm -f "$list"
    (cd "$prefix" && rmdir -p --ignore-fail-on-non-empty share/slm 2>/dev/null) || true
    say "removed $removed files from $prefix"
    local models=${SLM_MODELS:-${OLLAMA_MODELS:-${XDG_DATA_HOME:-$home/.local/share}/slm/models}}
    [[ ! -d $models ]] || say "your models stay, in $models; to remove them: rm -r $(printf '%q' "$models")"
}

main "$@"

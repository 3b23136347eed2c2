#!/usr/bin/env bash
# Builds slm for this machine and installs it under a prefix, and installs what the build needs with the system's package
# manager (apt, dnf, pacman, apk, brew). It knows nothing of models: it neither pulls nor removes any.
# It runs in the bash 3.2 of macOS and with the tools of busybox: no mapfile, no empty arrays, no options of GNU's alone.
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
Builds slm for this machine and installs it. Tried on Debian and Ubuntu; Fedora, Arch, Alpine and macOS have only been
checked with --dry-run.

Usage: ./install.sh [OPTIONS]

  --prefix DIR      install under DIR (default: ~/.local)
  --features LIST   cargo features: cuda, vulkan; metal on macOS
  --deps-only       install only what the build needs, build nothing
  --portable        build for any x86-64-v3 processor, not for this one
  --uninstall       remove what was installed under the prefix; models stay
  --dry-run         print the commands that would be run, and run none
  --system NAME     with --dry-run: as on another system with nothing installed yet: debian, fedora, arch, alpine, macos
  --help            show this

CARGO_BUILD_JOBS sets how many jobs compile at once (default: all processors). GGML_* variables that are set are kept.
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
    choose_system
    [[ $action == deps || $mode == dry ]] || require_usable_prefix
    say_what_is_untried
    ensure_packages
    ensure_rust
    if [[ $action == deps ]]; then
        [[ $mode == dry ]] || say "everything that the build needs is installed"
        return
    fi
    choose_processor
    build
    if [[ $mode == dry ]]; then
        say "then the binary, completions and man pages would go under $prefix"
        return
    fi
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
# What changes the machine goes through this.
run() {
    if [[ $mode == dry ]]; then
        printf '%s\n' "$*"
    else
        "$@"
    fi
}
absolute() { if [[ $1 == /* ]]; then printf '%s' "$1"; else printf '%s/%s' "$PWD" "$1"; fi; }

parse_arguments() {
    action=install features='' processor=native prefix='' mode=real system=''
    while (($#)); do
        case $1 in
        --help | -h) usage && exit 0 ;;
        --prefix=*) set -- --prefix "${1#*=}" "${@:2}" && continue ;;
        --system=*) set -- --system "${1#*=}" "${@:2}" && continue ;;
        --system)
            [[ ${2:-} == debian || ${2:-} == fedora || ${2:-} == arch || ${2:-} == alpine || ${2:-} == macos ]] ||
                misused "--system is debian, fedora, arch, alpine or macos"
            system=$2 && shift
            ;;
        --dry-run) mode=dry ;;
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
    [[ -z $system || $mode == dry ]] || misused "--system is for --dry-run"
    [[ $mode == real || $action != uninstall ]] || misused "--dry-run shows how slm is installed; leave --uninstall out"
    if [[ -z $prefix && $action != deps ]]; then
        [[ -n ${HOME:-} ]] || misused "HOME is not set, so there is no default prefix: give --prefix DIR"
        prefix=$HOME/.local
    fi
}

rust_wanted() { sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$here/Cargo.toml"; }

# Sets `system` to a family of systems, and `elsewhere` where it is not this machine's: then nothing counts as installed.
choose_system() {
    elsewhere=''
    if [[ -n $system ]]; then
        elsewhere=yes
    elif [[ $(uname -s) == Darwin ]]; then
        system=macos
    else
        system=$(family)
    fi
    [[ ,$features, != *,metal,* || $system == macos ]] || misused "the feature \`metal\` is for macOS"
    [[ ,$features, != *,vulkan,* && ,$features, != *,cuda,* || $system != macos ]] ||
        misused "macOS has neither CUDA nor Vulkan; the feature for its GPUs is \`metal\`"
}

# The family whose package manager is here, by what the system says of itself.
family() {
    local ids=''
    [[ ! -r /etc/os-release ]] || ids=$(sed -n -e 's/^ID=//p' -e 's/^ID_LIKE=//p' /etc/os-release | tr -d '"' | tr '\n' ' ')
    case " $ids" in
    *" debian "* | *" ubuntu "*) ! has apt-get || { echo debian && return; } ;;
    *" fedora "* | *" rhel "* | *" centos "*) ! has dnf || { echo fedora && return; } ;;
    *" arch "*) ! has pacman || { echo arch && return; } ;;
    *" alpine "*) ! has apk || { echo alpine && return; } ;;
    esac
    die "this script does not know \`${ids% }\`. Install cmake, make, a C++ compiler with the static libstdc++.a and" \
        "libgomp.a, libclang with its headers, and Rust $(rust_wanted) or newer; then run in '$here':" \
        "cargo build --release --locked"
}

say_what_is_untried() {
    case $system in
    debian) ;;
    alpine)
        say "nobody has tried slm on Alpine yet. Known of musl: bindgen loads libclang at run time, which programs that are" \
            "linked statically cannot; so Rust is taken from apk, or told to link build scripts dynamically"
        ;;
    macos) say "nobody has tried slm on macOS yet; the feature \`metal\` computes on its GPU" ;;
    *) say "nobody has tried this script on $system yet; please report what happens" ;;
    esac
}

# Asked before the minutes of building, not after them.
require_usable_prefix() {
    local folder=$prefix
    while [[ ! -e $folder ]]; do folder=$(dirname "$folder"); done
    [[ -d $folder && -w $folder ]] || die "cannot write under '$prefix' ('$folder'): choose another folder with --prefix DIR"
    [[ ! -e $prefix/bin/slm || -f $prefix/share/slm/installed ]] ||
        die "'$prefix/bin/slm' was not installed by this script: move it elsewhere, or choose another folder with --prefix DIR"
}

# --- packages --------------------------------------------------------------------------------------------------------

# The folders of LLVM, wherever bindgen's clang-sys looks for a libclang.
llvm_folders() {
    local config=${LLVM_CONFIG_PATH:-llvm-config} folder
    ! has "$config" || printf '%s/lib\n' "$("$config" --prefix)"
    for folder in /usr/lib/llvm*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib /usr/local/lib; do
        [[ ! -d $folder ]] || printf '%s\n' "$folder"
    done
}

# bindgen loads the newest libclang at run time, and libclang needs clang's own headers (stddef.h) of the same version,
# which are in another package; without them the build ends minutes later with "stddef.h not found".
missing_libclang() {
    [[ -z ${LIBCLANG_PATH:-} ]] || return 0
    # Apple's tools bring it, where bindgen looks.
    [[ $system != macos ]] || return 0
    local folder library header newest=0
    while read -r folder; do
        for library in "$folder"/libclang.so* "$folder"/libclang-[0-9]*.so*; do
            [[ -e $library && $(basename "$(readlink -f "$library")") =~ ([0-9]+) ]] || continue
            ((newest >= BASH_REMATCH[1])) || newest=${BASH_REMATCH[1]}
        done
    done < <(llvm_folders)
    for header in /usr/lib/llvm-"$newest"/lib/clang/*/include/stddef.h /usr/lib*/clang/"$newest"*/include/stddef.h \
        /usr/lib/llvm*/lib/clang/"$newest"*/include/stddef.h; do
        [[ ! -e $header ]] || return 0
    done
    if ((newest)); then echo "libclang-headers-$newest"; else echo libclang; fi
}

# The C compiler's driver is asked, as the build script asks it.
has_static_runtimes() {
    local archive
    has "${CC:-cc}" && has "${CXX:-c++}" || return 1
    for archive in libstdc++.a libgomp.a; do
        [[ -f $("${CC:-cc}" --print-file-name="$archive") ]] || return 1
    done
}

# What the build needs and does not find, in words of this script's own; `packages_of` has the systems' names.
missing_needs() {
    if [[ -n $elsewhere ]]; then
        echo "cmake make c++ libclang"
        [[ ,$features, != *,vulkan,* ]] || echo "glslc vulkan spirv"
        return
    fi
    has cmake || echo cmake
    if [[ $system == macos ]]; then
        xcode-select -p >/dev/null 2>&1 || echo c++
        return
    fi
    has make || echo make
    has_static_runtimes || echo c++
    missing_libclang
    if [[ ,$features, == *,vulkan,* ]]; then
        has glslc || echo glslc
        [[ -e /usr/include/vulkan/vulkan.h ]] || echo vulkan
        [[ -d /usr/include/spirv ]] || echo spirv
    fi
}

# The packages of this system that bring what is needed.
packages_of() {
    local need
    for need in "$@"; do
        case $system:$need in
        debian:c++) echo g++ ;;
        debian:libclang) echo libclang-dev ;;
        debian:libclang-headers-*) echo "libclang-common-${need##*-}-dev" ;;
        debian:vulkan) echo libvulkan-dev ;;
        debian:spirv | arch:spirv | alpine:spirv) echo spirv-headers ;;
        fedora:c++) echo "gcc-c++ libstdc++-static" ;;
        fedora:libclang*) echo clang-devel ;;
        fedora:vulkan) echo "vulkan-headers vulkan-loader-devel" ;;
        fedora:spirv) echo spirv-headers-devel ;;
        arch:c++) echo gcc ;;
        arch:libclang*) echo clang ;;
        arch:vulkan) echo "vulkan-headers vulkan-icd-loader" ;;
        alpine:c++) echo "g++ linux-headers" ;;
        alpine:libclang*) echo clang-dev ;;
        alpine:vulkan) echo "vulkan-headers vulkan-loader-dev" ;;
        arch:glslc | alpine:glslc) echo shaderc ;;
        *) echo "$need" ;;
        esac
    done
}

one_line() { tr '\n' ' ' | sed 's/ *$//'; }

ensure_packages() {
    local missing packages
    if [[ ,$features, == *,cuda,* ]] && ! has nvcc && [[ -z $elsewhere ]]; then
        [[ ! -x /usr/local/cuda/bin/nvcc ]] || PATH=/usr/local/cuda/bin:$PATH
        has nvcc || die "the feature \`cuda\` needs NVIDIA's CUDA toolkit (nvcc): see https://developer.nvidia.com/cuda-downloads"
    fi
    missing=$(missing_needs | one_line)
    [[ -n $missing ]] || return 0
    say "missing: $missing"
    if [[ $system == macos ]]; then
        install_for_macos
    else
        # shellcheck disable=SC2086 # words without spaces
        packages=$(packages_of $missing | one_line)
        # shellcheck disable=SC2086 # names of packages
        install_packages $packages
    fi
    [[ $mode == real ]] || return 0
    missing=$(missing_needs | one_line)
    [[ -z $missing ]] || die "installed, but still not found: $missing." \
        "Are CC, CXX or LLVM_CONFIG_PATH set to another compiler? Unset them and run this again"
}

# Apple's tools have a window of their own for their licence, so they are asked for and not waited for.
install_for_macos() {
    if [[ " $missing " == *" c++ "* || " $missing " == *" make "* ]]; then
        run xcode-select --install
        [[ $mode == dry ]] || die "Apple's command line tools are being installed in a window; run this again when they are"
    fi
    [[ " $missing " == *" cmake "* ]] || return 0
    has brew || [[ $mode == dry ]] || die "cmake is missing, and so is Homebrew: install one of them (https://brew.sh, https://cmake.org)"
    run brew install cmake
}

# Installs packages with the system's own manager.
install_packages() {
    local as_root='' manager
    case $system in
    debian) manager="apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3" ;;
    fedora) manager="dnf install -y --setopt=install_weak_deps=False" ;;
    # Whatever is older than the list of packages is brought up to date with it: Arch knows no half of an update.
    arch) manager="pacman -Syu --needed --noconfirm" ;;
    alpine) manager="apk add" ;;
    esac
    if ((EUID != 0)) && [[ -z $elsewhere ]]; then
        if has sudo; then
            as_root=sudo
        elif has doas; then
            as_root=doas
        elif [[ $mode == real ]]; then
            die "installing packages needs root, and there is no sudo. Ask an administrator to run: $manager $*"
        fi
        [[ $mode == dry ]] || say "this needs root, so $as_root is used and may ask for your password"
    fi
    [[ $system != debian ]] || as_root="$as_root env DEBIAN_FRONTEND=noninteractive"
    [[ $mode == dry ]] || say "running: $manager $*"
    # shellcheck disable=SC2086 # words without spaces
    {
        # A broken list of some other vendor must not stop us: what counts is whether the install succeeds.
        [[ $system != debian ]] || run $as_root apt-get update -q </dev/null || say "apt-get update reported errors; continuing"
        run $as_root $manager "$@" </dev/null ||
            die "${manager%% *} could not install: $*. Read its message above, correct the problem, and run this again"
    }
}

# --- Rust ------------------------------------------------------------------------------------------------------------

at_least() {
    awk -v have="$1" -v want="$2" 'BEGIN {
        split(have, h, "."); split(want, w, ".")
        for (i = 1; i <= 3; i++) if (h[i] + 0 != w[i] + 0) exit !(h[i] + 0 > w[i] + 0)
    }'
}
cargo_version() { (cd "$here" && cargo --version 2>/dev/null) | sed -n 's/^cargo \([0-9.]*\).*/\1/p' || true; }
rust_is_ready() {
    local version
    version=$(cargo_version)
    [[ -n $version ]] && at_least "$version" "$(rust_wanted)"
}

ensure_rust() {
    local cargo_bin=${CARGO_HOME:-$home/.cargo}/bin version
    if [[ -n $elsewhere ]]; then
        install_rust "$cargo_bin"
        return
    fi
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
        if [[ $mode == dry ]]; then
            run rustup toolchain install stable --profile minimal --no-self-update
            return
        fi
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
    [[ $mode == real ]] || return 0
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
    local packages
    packages=$(rust_packages)
    if [[ -n $packages ]]; then
        if [[ -n $elsewhere ]]; then
            say "missing: Rust; from $system's packages where they are $(rust_wanted) or newer, as here, else with rustup"
        else
            say "missing: Rust; this system's is new enough"
        fi
        # shellcheck disable=SC2086 # names of packages
        install_packages $packages
        hash -r
        return
    fi
    # What https://sh.rustup.rs gives, from the host that the toolchain comes from anyway: one host less to be let through.
    local url=https://static.rust-lang.org/rustup/rustup-init.sh
    say "missing: Rust $(rust_wanted) or newer; installing it into ${1%/bin} with rustup: $url"
    has curl && [[ -z $elsewhere ]] || [[ $system == macos ]] || install_packages curl ca-certificates
    if [[ $mode == dry ]]; then
        printf '%s\n' "curl --proto '=https' --tlsv1.2 -fsSL $url | sh -s -- -y -q --profile minimal"
        return
    fi
    curl --proto '=https' --tlsv1.2 -fsSL "$url" | sh -s -- -y -q --profile minimal ||
        die "rustup could not be installed; see https://rustup.rs, then run this again"
    PATH=$1:$PATH
    say "a new shell has cargo on PATH; for this one: export PATH=\"$1:\$PATH\""
}

# The system's packages of Rust, where they are new enough; nothing on macOS, where rustup is as good.
rust_packages() {
    local pair version
    case $system in
    debian)
        for pair in "rustc cargo" "rustc-web cargo-web"; do
            version=$([[ -n $elsewhere ]] || apt-cache policy "${pair% *}" 2>/dev/null | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p')
            ! at_least "${version:-0}" "$(rust_wanted)" || { echo "$pair" && return; }
        done
        ;;
    fedora) version=$([[ -n $elsewhere ]] || dnf -q repoquery --latest-limit=1 --qf '%{version}\n' rust 2>/dev/null | head -n 1) pair="rust cargo" ;;
    arch) version=$([[ -n $elsewhere ]] || pacman -Si rust 2>/dev/null | sed -n 's/^Version *: *[0-9]*:*\([0-9.]*\).*/\1/p' | head -n 1) pair=rust ;;
    alpine) version=$([[ -n $elsewhere ]] || apk policy rust 2>/dev/null | sed -n 's/^  *\([0-9.]*\)-r.*/\1/p' | head -n 1) pair="rust cargo" ;;
    macos) return 0 ;;
    esac
    # What another system has today cannot be asked here.
    [[ -z $elsewhere || $system == debian ]] || version=$(rust_wanted)
    ! at_least "${version:-0}" "$(rust_wanted)" || echo "$pair"
}

# --- the build -------------------------------------------------------------------------------------------------------

# Sets the switches in which this processor differs from x86-64-v3, and `target`: such a build has a folder of its own, so
# that it and a plain `cargo test` do not compile llama.cpp anew after each other.
choose_processor() {
    target=$(absolute "${CARGO_TARGET_DIR:-$here/target}")
    [[ $(uname -m) == x86_64 && -r /proc/cpuinfo && -z $elsewhere ]] || return 0
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
    export CARGO_BUILD_JOBS=${CARGO_BUILD_JOBS:-$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)}
    export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$CARGO_BUILD_JOBS}
    # rustup's Rust for musl links statically, and then bindgen cannot load libclang.
    if [[ $system == alpine && -z ${RUSTFLAGS:-} ]]; then
        export RUSTFLAGS="-C target-feature=-crt-static"
        [[ $mode == real ]] || printf '%s\n' "export RUSTFLAGS='$RUSTFLAGS'"
    fi
    if [[ $mode == dry ]]; then
        printf '%s\n' "cargo build --release --locked --bin slm --target-dir $target${features:+ --features $features}"
        return
    fi
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
        say "$("$prefix/bin/slm" --version) is already installed under $prefix; nothing changed"
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
    (cd "$staging" && find . -type f | sed 's|^\./||' | LC_ALL=C sort) >"$work/list"
}

replace() {
    mkdir -p "$(dirname "$2")"
    temporary=$2.new$$
    cp -p "$1" "$temporary"
    mv -f "$temporary" "$2"
    temporary=''
}

# The files, relative to the prefix, that an earlier run wrote. Only what this script could have written is believed.
listed() {
    local list=$prefix/share/slm/installed file
    [[ -f $list ]] || return 0
    while read -r file; do
        [[ ($file == bin/* || $file == share/*) && $file != *..* ]] || die "'$list' names \`$file\`, which is not ours: repair or remove that list"
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
        (cd "$prefix" && rmdir -p "$(dirname "$file")" 2>/dev/null) || true
    done
    rm -f "$list"
    (cd "$prefix" && rmdir -p share/slm 2>/dev/null) || true
    say "removed $removed files from $prefix"
    local models=${SLM_MODELS:-${OLLAMA_MODELS:-${XDG_DATA_HOME:-$home/.local/share}/slm/models}}
    [[ ! -d $models ]] || say "your models stay, in $models; to remove them: rm -r $(printf '%q' "$models")"
}

main "$@"

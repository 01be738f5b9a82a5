# Nix package, for callPackage. Its syntax is checked; it has not been built with Nix yet.
#
# One output: Nix has no use for the split that other distributions need.
{
  lib,
  stdenv,
  cmake,
  gettext,
  ninja,
  pkg-config,
  glib,
  libseccomp,
  tpm2-tss,
  udev,
}:

stdenv.mkDerivation {
  pname = "tpmgate";
  version = builtins.head (
    builtins.match ".*project\\(tpmgate VERSION ([0-9.]+) .*" (builtins.readFile ../../CMakeLists.txt)
  );
  src = lib.cleanSource ../..;

  nativeBuildInputs = [
    cmake
    gettext
    ninja
    pkg-config
  ];
  buildInputs = [
    glib
    libseccomp
    tpm2-tss # headers, for the TCTI; nothing links with it
    udev
  ];

  # Where other packages would put these is their own store path: everything goes into ours. What is
  # kept of the machine is outside.
  cmakeFlags = [
    "-DBUILD_TESTING=OFF"
    "-DCATALOG_DIR=${placeholder "out"}/lib/systemd/catalog"
    "-DDRACUT_DIR="
    "-DINITRAMFS_TOOLS_DIR="
    "-DPOLKIT_ACTION_DIR=${placeholder "out"}/share/polkit-1/actions"
    "-DSYSTEMD_UNIT_DIR=${placeholder "out"}/lib/systemd/system"
    "-DSYSUSERS_DIR=${placeholder "out"}/lib/sysusers.d"
    "-DTMPFILES_DIR=${placeholder "out"}/lib/tmpfiles.d"
    "-DUDEV_DIR=${placeholder "out"}/lib/udev"
    "-DTPMGATE_STATE_DIR=/var/lib/tpmgate"
  ];

  meta = {
    description = "TPM 2.0 for programs without privileges";
    license = lib.licenses.bsd2;
    platforms = lib.platforms.linux;
    mainProgram = "tpmgate";
  };
}

# NixOS module. Its syntax is checked; it has not run on NixOS yet.
#
#     imports = [ ./packaging/nix/module.nix ];
#     services.tpmgate.enable = true;
#     users.users.alice.extraGroups = [ "tpmgate-users" ];
#
# tpm2-tss of NixOS loads TCTIs by name from its own directory only, so programs get the whole path,
# or run the command: TPM2TOOLS_TCTI="cmd:tpmgate stdio".
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.tpmgate;
in
{
  options.services.tpmgate = {
    enable = lib.mkEnableOption "TPM 2.0 for programs without privileges";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      description = "The package to use.";
    };

    settings = lib.mkOption {
      type = lib.types.attrsOf (lib.types.attrsOf (lib.types.oneOf [ lib.types.str lib.types.int ]));
      default = { };
      example = {
        Session.IdleTimeoutSec = 600;
      };
      description = "Sections of tpmgate.conf; see tpmgate.conf(5).";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    environment.etc."tpmgate/tpmgate.conf" = lib.mkIf (cfg.settings != { }) {
      text = lib.generators.toINI { } cfg.settings;
    };

    # Actions are found through systemPackages, rules for the nodes and units here.
    services.udev.packages = [ cfg.package ];
    systemd.packages = [ cfg.package ];
    systemd.sockets.tpmgate.wantedBy = [ "sockets.target" ];
    systemd.tmpfiles.packages = [ cfg.package ];

    users.groups = {
      tss = { };
      tpmgate = { };
      tpmgate-users = { };
    };
    # The owner of the nodes may be somebody else already; access is by the group.
    users.users.tss = {
      isSystemUser = lib.mkDefault true;
      group = lib.mkDefault "tss";
    };
    users.users.tpmgate = {
      isSystemUser = true;
      group = "tpmgate";
      extraGroups = [ "tss" ];
      description = "TPM for unprivileged programs";
    };
  };
}

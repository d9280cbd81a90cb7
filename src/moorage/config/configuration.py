"""What an operator may also change while the server runs, over `/api/v2.0/configurations`.

Names, types and defaults are Harbor's, so that its clients and Terraform files fit. What a file or
the environment sets goes before the database, and cannot be changed over the API.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from moorage.config.syslog import parse_target

MOST = 9_999_999_999
"""Harbor's limit of ten digits."""

Count = Annotated[int, Field(gt=0, le=MOST)]
SearchScope = Annotated[int, Field(ge=0, le=2)]  # base, one level, subtree
Short = Annotated[str, Field(max_length=255)]
Long = Annotated[str, Field(max_length=4096)]
Document = Annotated[str, Field(max_length=65536)]

AUTH_MODES = ("db_auth", "ldap_auth", "oidc_auth")
"""The modes of Harbor's that are offered."""

AUDIT_EVENTS = (
    "create_artifact",
    "delete_artifact",
    "pull_artifact",
    "create_project",
    "update_project",
    "delete_project",
    "delete_repository",
    "login_user",
    "logout_user",
    "create_user",
    "update_user",
    "delete_user",
    "create_robot",
    "delete_robot",
    "update_configuration",
    "create_member",
    "update_member",
    "delete_member",
)
"""Types of events that the audit log can leave out; it always tells of all others."""


def audit_events(text: str) -> frozenset[str]:
    """The names in a list by commas."""
    return frozenset(name for part in text.split(",") if (name := part.strip()))


class Configuration(BaseModel):
    """Settings that the API can change."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # --- sign-in

    auth_mode: Literal["db_auth", "ldap_auth", "oidc_auth", "http_auth", "uaa_auth"] = Field(
        "db_auth",
        description="Where users come from beside the database: `ldap_auth` for LDAP, "
        "`oidc_auth` for OpenID Connect.",
    )
    primary_auth_mode: bool = Field(
        False, description="Whether the portal offers the sign-in of `auth_mode` first."
    )
    self_registration: bool = Field(False, description="Whether people may make their own account.")
    session_timeout: Count = Field(60, description="Minutes that a session of the portal may rest.")
    token_expiration: int = Field(
        30, ge=1, le=24 * 60, description="How long a registry token lives, in minutes."
    )
    robot_name_prefix: str = Field(
        "robot$",
        min_length=1,
        max_length=32,
        pattern=r"^[^\s:+\x00-\x1f]+$",
        description="What the name of every robot account begins with.",
    )
    robot_token_duration: int = Field(
        30,
        ge=-1,
        le=36500,
        description="Days that a new robot account lives unless it says otherwise; -1: for ever.",
    )

    # --- projects

    project_creation_restriction: Literal["everyone", "adminonly"] = Field(
        "everyone", description="Who may make a project."
    )
    quota_per_project_enable: bool = Field(
        True, description="Whether a push that does not fit into its project's quota is refused."
    )
    storage_per_project: int = Field(
        -1, ge=-1, le=2**63 - 1, description="Quota of a new project in bytes; -1: unlimited."
    )

    # --- operation

    read_only: bool = Field(False, description="Refuse every change but those of the operator.")
    banner_message: Document = Field("", description="What the portal shows above every page.")
    notification_enable: bool = Field(True, description="Whether webhooks are sent.")
    scanner_skip_update_pulltime: bool = Field(
        False, description="Whether the pulls of scanners are left out of the statistics."
    )
    audit_log_forward_endpoint: Short = Field(
        "",
        description="Syslog server that gets the audit log as well: `tcp://host:port`, `udp://…` "
        "or `tls://…`; `host:port` is TCP.",
    )
    skip_audit_log_database: bool = Field(
        False, description="Send the audit log to `audit_log_forward_endpoint` only."
    )
    disabled_audit_log_event_types: Long = Field(
        "", description="Events that the audit log leaves out, by commas."
    )

    # --- LDAP

    ldap_url: Short = Field("", description="URL of the LDAP server.")
    ldap_search_dn: Short = Field("", description="DN of the account that searches for users.")
    ldap_search_password: SecretStr = Field(
        SecretStr(""), description="Password of the account that searches for users."
    )
    ldap_base_dn: Short = Field("", description="DN below which users are found.")
    ldap_filter: Long = Field("", description="Filter of the users who may sign in.")
    ldap_uid: Short = Field("cn", description="Attribute that holds the user name.")
    ldap_scope: SearchScope = Field(2, description="Depth of the search: 0 base, 1 one, 2 subtree.")
    ldap_timeout: Count = Field(5, description="Seconds until a connection is given up.")
    ldap_verify_cert: bool = Field(True, description="Whether the certificate is verified.")
    ldap_group_base_dn: Short = Field("", description="DN below which groups are found.")
    ldap_group_search_filter: Long = Field("", description="Filter of the groups.")
    ldap_group_attribute_name: Short = Field("", description="Attribute that names a group.")
    ldap_group_search_scope: SearchScope = Field(2, description="Depth of the search for groups.")
    ldap_group_admin_dn: Short = Field("", description="DN of the group of administrators.")
    ldap_group_membership_attribute: Short = Field(
        "memberof", description="Attribute of a user that names the groups."
    )
    ldap_group_attach_parallel: bool = Field(
        False, description="Whether the groups of a user are looked up at the same time."
    )

    # --- OpenID Connect

    oidc_name: Short = Field("", description="Name of the provider, as the portal shows it.")
    oidc_endpoint: Short = Field("", description="URL of the provider, the issuer.")
    oidc_client_id: Short = Field("", description="Client id at the provider.")
    oidc_client_secret: SecretStr = Field(
        SecretStr(""), description="Client secret at the provider."
    )
    oidc_groups_claim: Short = Field("", description="Claim that lists the groups of a user.")
    oidc_admin_group: Short = Field("", description="Group of administrators.")
    oidc_group_filter: Long = Field(
        "", description="Regular expression of the groups that are kept."
    )
    oidc_scope: Short = Field("", description="Scopes that are asked for, by commas.")
    oidc_verify_cert: bool = Field(True, description="Whether the certificate is verified.")
    oidc_auto_onboard: bool = Field(
        False, description="Whether a first sign-in makes the account without asking for a name."
    )
    oidc_extra_redirect_parms: Long = Field(
        "{}", description="Parameters for the provider's page, as a JSON object."
    )
    oidc_user_claim: Short = Field("", description="Claim that holds the user name.")
    oidc_logout: bool = Field(
        False, description="Whether signing out also ends the session at the provider."
    )

    # --- kept for Harbor's clients

    uaa_endpoint: Short = Field("", description="Not used.")
    uaa_client_id: Short = Field("", description="Not used.")
    uaa_client_secret: SecretStr = Field(SecretStr(""), description="Not used.")
    uaa_verify_cert: bool = Field(True, description="Not used.")
    http_authproxy_endpoint: Short = Field("", description="Not used.")
    http_authproxy_tokenreview_endpoint: Short = Field("", description="Not used.")
    http_authproxy_admin_groups: Long = Field("", description="Not used.")
    http_authproxy_admin_usernames: Long = Field("", description="Not used.")
    http_authproxy_verify_cert: bool = Field(True, description="Not used.")
    http_authproxy_skip_search: bool = Field(False, description="Not used.")
    http_authproxy_server_certificate: Document = Field("", description="Not used.")

    @field_validator("auth_mode")
    @classmethod
    def _offered(cls, value: str) -> str:
        if value not in AUTH_MODES:
            raise ValueError(f"{value} is not available; give {' or '.join(AUTH_MODES)}")
        return value

    @field_validator("audit_log_forward_endpoint")
    @classmethod
    def _syslog_server(cls, value: str) -> str:
        if value:
            parse_target(value)
        return value

    @field_validator("disabled_audit_log_event_types")
    @classmethod
    def _known_events(cls, value: str) -> str:
        unknown = sorted(audit_events(value) - set(AUDIT_EVENTS))
        if unknown:
            raise ValueError(f"unknown: {', '.join(unknown)[:200]}; give {', '.join(AUDIT_EVENTS)}")
        return value

    @field_validator("robot_token_duration", "storage_per_project")
    @classmethod
    def _not_zero(cls, value: int) -> int:
        if value == 0:
            raise ValueError("give a positive number, or -1 for no limit")
        return value

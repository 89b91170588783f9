//! Tests of OAuth apps: their places, and how far those may lead.

use super::*;
use crate::origin::Reach;

/// An OAuth app with some settings more.
fn app(more: &str) -> String {
    format!(
        "[credentials.a.oauth2]\nclient_id = \"oa2client_0123456789abcdefghijkl\"\nclient_secret = {{ env = \"A\" }}\n{more}"
    )
}

fn places(loaded: &Loaded) -> [String; 4] {
    let kind = &loaded.config.credentials[&CredentialName::parse("a").unwrap()].kind;
    let CredentialKind::OAuth2(app) = kind else { panic!("{kind:?}") };
    app.places().map(|(_, place)| place.to_string())
}

#[test]
fn an_oauth_app_has_the_places_of_close_unless_it_says_others() {
    let text = "[credentials.a]\noauth2 = { client_id = \"oa2client_1\", client_secret = { env = \"A\" } }\n";
    let close = [
        "https://localhost/oauth/callback",
        "https://app.close.com/oauth2/authorize/",
        "https://api.close.com/oauth2/token/",
        "https://api.close.com/oauth2/revoke/",
    ];
    assert_eq!(places(&good(text, &[])), close);
    assert_eq!(places(&good(&app(""), &[])), close);
    let public = format!("[admin]\npublic_url = \"https://gate.example.com\"\n{}", app(""));
    assert_eq!(places(&good(&public, &[]))[0], "https://gate.example.com/oauth/callback");
    let variable = ("CLOSEGATE__CREDENTIALS__A__OAUTH2__REDIRECT_URI", "https://gate.example.com/x/");
    assert_eq!(places(&good(&app(""), &[variable]))[0], "https://gate.example.com/x/");
    let private = format!("[upstream]\ndanger_private_upstream = true\n{}", app("token_url = \"https://auth.corp/t\""));
    let loaded = good(&private, &[]);
    let CredentialKind::OAuth2(app) = &loaded.config.credentials[&CredentialName::parse("a").unwrap()].kind else {
        panic!("{loaded:?}")
    };
    assert_eq!(
        (app.token_url.origin().reach(), app.revocation_url.origin().reach()),
        (Reach::Anywhere, Reach::Anywhere)
    );
}

#[test]
fn the_faults_of_an_oauth_app_are_told_at_once() {
    let text = "[credentials.a.oauth2]\nclient_id = \"api_planted0planted\"\nclient_secret = \"planted1\"\ntoken_url = \"https://u:planted2@h/\"\nscope = \"all\"\n";
    let keys: Vec<_> = bad(text, &[]).into_iter().map(|fault| fault.key).collect();
    let of = |setting: &str| format!("credentials.a.oauth2.{setting}");
    assert_eq!(keys, [of("client_id"), of("client_secret"), of("token_url"), of("scope")]);
    assert_eq!(only("[credentials.a]\noauth2 = \"x\"", &[]).0, "credentials.a.oauth2");
    let two =
        "[credentials.a]\nbearer = { env = \"A\" }\noauth2 = { client_id = \"x\", client_secret = { env = \"A\" } }";
    assert!(only(two, &[]).2.contains("more than one kind"));
}

#[test]
fn line_40_an_oauth_app_goes_in_clear_text_to_loopback_alone_and_only_where_that_is_said() {
    let permit = |more: &str| format!("[upstream]\ndanger_cleartext_upstream = true\n{}", app(more));
    let token = |url: &str| format!("token_url = \"{url}\"\n");
    good(&permit(&token("http://127.0.0.1:9/oauth2/token/")), &[]);
    for setting in ["redirect_uri", "authorization_url", "token_url", "revocation_url"] {
        let key = format!("credentials.a.oauth2.{setting}");
        let local = format!("{setting} = \"http://127.0.0.1:9/\"\n");
        let (at, _, what) = only(&app(&local), &[]);
        assert!(at == key && what.contains("`danger_cleartext_upstream = true`"), "{at}: {what}");
        let (at, _, what) = only(&permit(&format!("{setting} = \"http://h/\"\n")), &[]);
        assert!(at == key && what.contains("beyond loopback"), "{at}: {what}");
    }
}

//! The page's files, out of the program itself, compressed when it was built.
//!
//! Nothing in them is secret: whoever may not read sees the form for the token.

use crate::problem::RequestRefusal;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

/// Scripts, styles and images of ours alone, no form to elsewhere, a frame around the page only where it is allowed.
pub(crate) struct PagePolicy(String);

impl PagePolicy {
    /// `frame_ancestors` are `'self'` or origins; none: no frame at all.
    pub(crate) fn new(frame_ancestors: &[String]) -> Self {
        let ancestors = if frame_ancestors.is_empty() { "'none'".to_owned() } else { frame_ancestors.join(" ") };
        PagePolicy(format!(
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors {ancestors}; object-src 'none'"
        ))
    }
}

/// One file of the page.
pub(crate) struct PageFile {
    /// Relative to the page's folder.
    pub(crate) name: &'static str,
    /// Names the content.
    pub(crate) etag: &'static str,
    /// As it was written.
    pub(crate) plain: &'static [u8],
    /// The same in gzip.
    pub(crate) compressed: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Names the whole page: another one means that another version of the gateway runs.
pub(crate) fn version() -> String {
    FILES.iter().filter_map(|file| file.etag.get(1..5)).collect::<Vec<_>>().concat()
}

/// `GET /`
pub(crate) async fn index(request: HttpRequest) -> Result<HttpResponse, RequestRefusal> {
    serve(&request, "index.html")
}

/// `GET /page/{file}`
pub(crate) async fn file(request: HttpRequest) -> Result<HttpResponse, RequestRefusal> {
    serve(&request, request.match_info().query("file"))
}

fn serve(request: &HttpRequest, name: &str) -> Result<HttpResponse, RequestRefusal> {
    let file = FILES.iter().find(|file| file.name == name).ok_or(RequestRefusal::NoSuchPath)?;
    let no_policy = RequestRefusal::Internal("the API was started without the page's policy");
    let PagePolicy(policy) = request.app_data::<Data<PagePolicy>>().map(Data::get_ref).ok_or(no_policy)?;
    let headers = request.headers();
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::ETAG, file.etag))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::VARY, "Accept-Encoding"))
        .insert_header((header::CONTENT_SECURITY_POLICY, policy.as_str()))
        .insert_header(("Referrer-Policy", "no-referrer"))
        .content_type(content_type(name));
    if lists(headers, header::IF_NONE_MATCH, |known| known.trim_start_matches("W/") == file.etag) {
        return Ok(response.status(actix_web::http::StatusCode::NOT_MODIFIED).finish());
    }
    if lists(headers, header::ACCEPT_ENCODING, accepts_gzip) {
        return Ok(response.insert_header((header::CONTENT_ENCODING, "gzip")).body(file.compressed));
    }
    Ok(response.body(file.plain))
}

fn lists(headers: &HeaderMap, name: header::HeaderName, is_it: impl Fn(&str) -> bool) -> bool {
    let values = headers.get_all(name).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| is_it(item.trim()))
}

/// `gzip` or `gzip;q=0.5`, but not `gzip;q=0` (RFC 9110 section 12.5.3).
fn accepts_gzip(item: &str) -> bool {
    let mut parts = item.split(';').map(str::trim);
    let is_gzip = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
    let quality = parts.find_map(|part| part.strip_prefix("q=")).and_then(|text| text.parse::<f32>().ok());
    is_gzip && quality.is_none_or(|quality| quality > 0.0)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_page_is_small() {
        let sum: usize = FILES.iter().map(|file| file.compressed.len()).sum();
        assert!(sum <= 150_000, "{sum} bytes, compressed");
    }

    #[test]
    fn the_page_names_nothing_outside_of_itself() {
        for file in FILES {
            let text = std::str::from_utf8(file.plain).unwrap();
            for foreign in ["http://", "https://", "src=\"/", "href=\"/", "from \"/", "fetch(\"/", "innerHTML"] {
                let known = text.matches(foreign).count()
                    - text.matches("http://www.w3.org/").count() * usize::from(foreign == "http://");
                assert_eq!(known, 0, "{foreign} in {}", file.name);
            }
        }
    }

    #[test]
    fn gzip_is_sent_only_to_those_who_take_it() {
        for (item, taken) in [("gzip", true), ("GZIP;q=0.5", true), ("gzip;q=0", false), ("br", false), ("", false)] {
            assert_eq!(accepts_gzip(item), taken, "{item}");
        }
    }
}

"""The configuration's page is config/README.md: its links are made to fit the site."""


def on_page_markdown(markdown, page, **_):
    return markdown.replace("](../docs/", "](") if page.file.src_uri == "configuration.md" else markdown

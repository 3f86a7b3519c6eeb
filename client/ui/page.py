"""The page itself: where to drop a file, and what is said of it.

Each file is scored through a connection of its own, so a server that was restarted, or started only
after the page, is found again.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path

import gradio as gr
from fastapi import FastAPI

from client.calling import CallPolicy
from client.options import ScoreOptions
from client.scorer import Scorer
from client.ui.findings import show_row, show_trouble
from client.ui.pictures import show
from client.ways import addresses
from lnclip.errors import LnclipError

TITLE = "Manipulated faces"
MAX_UPLOAD_BYTES = 500_000_000
"""Of one file; the server's own limits for images are lower."""

FILES_AT_ONCE = 2
CLEANING_S = 600
"""So often, uploads so old are deleted, whose page was closed meanwhile; others go as soon as they are scored."""

OPTIONS = ScoreOptions(policy=CallPolicy(retries=1, patience_s=5))
"""Somebody is waiting: trouble is said soon."""

STYLE = Path(__file__).with_name("page.css")


def make_app(urls: Sequence[str] | None, uploads: Path) -> FastAPI:
    """The page as an application for any ASGI server.

    Args:
        urls: as for ``serve_ui``.
        uploads: where Gradio keeps what is sent.
    """

    def score(file: str | None) -> tuple[str, str, None]:
        """What is shown of an upload, which is deleted; and an empty place for the next one."""
        if file is None:
            return "", _describe(urls), None
        try:
            return *_score(urls, Path(file)), None
        finally:
            _delete(Path(file), uploads)

    with gr.Blocks(analytics_enabled=False, title=TITLE, delete_cache=(CLEANING_S, CLEANING_S)) as page:
        gr.HTML(f"<h1>{TITLE}</h1><p>One image or video at a time; it goes to your own server and nowhere else.</p>")
        state = gr.HTML(elem_id="server")
        upload = gr.File(label=f"Image or video, up to {MAX_UPLOAD_BYTES // 1_000_000} MB", height=160, elem_id="drop")
        findings = gr.HTML(elem_id="findings", min_height=80)
        gr.on(
            [upload.upload],
            score,
            upload,
            [findings, state, upload],
            show_progress_on=findings,
            concurrency_limit=FILES_AT_ONCE,
            api_visibility="private",
        )
        page.load(lambda: _describe(urls), outputs=state, show_progress="hidden", api_visibility="private")
    app = FastAPI(openapi_url=None)
    gr.mount_gradio_app(
        app,
        page,
        "/",
        server_name="127.0.0.1",
        max_file_size=MAX_UPLOAD_BYTES,
        theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=STYLE.read_text(encoding="utf-8"),
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
    )
    return app


def _score(urls: Sequence[str] | None, file: Path) -> tuple[str, str]:
    """What is shown of a file, and of the server."""
    try:
        with Scorer(urls, OPTIONS) as scorer:
            row = scorer.score(file)
    except LnclipError as error:
        return show_trouble("Not scored", file.name, str(error)), ""
    return show_row(row, file.name, None if row.error else show(row, file)), _ready(urls)


def _describe(urls: Sequence[str] | None) -> str:
    """Whether there is somebody to ask."""
    try:
        with Scorer(urls, OPTIONS):
            return _ready(urls)
    except LnclipError as error:
        return show_trouble("No server", "Nothing can be scored now", str(error))


def _ready(urls: Sequence[str] | None) -> str:
    return f'<p class="ready">Scored by Triton at {escape(", ".join(addresses(urls)))}.</p>'


def _delete(file: Path, uploads: Path) -> None:
    """The upload and the folder of its own that it lies in."""
    if uploads.resolve() in file.resolve().parent.parents:
        shutil.rmtree(file.parent, ignore_errors=True)

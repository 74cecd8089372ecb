"""The migration report in Airflow's UI: a tab on each DAG run, and a page in the navigation with all runs.

Every process of Airflow imports this file; what it needs is imported when the API server has its first request.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin


class Site:
    """The pages as an ASGI application that is made when it is first used."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if self.app is None:
            from anyio import to_thread

            self.app = await to_thread.run_sync(_create)
        await self.app(scope, receive, send)


def _create() -> Any:
    from report_site.app import create_app

    return create_app()


def _icon(stroke: str, fill: str) -> str:
    """A drum with a tick."""
    return (
        f"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='{fill}' "
        f"stroke='%23{stroke}' stroke-width='2' stroke-linecap='round' stroke-linejoin='round'%3E"
        "%3Cpath d='M4 5v14c0 1.7 3.6 3 8 3s8-1.3 8-3V5'/%3E%3Cellipse cx='12' cy='5' rx='8' ry='3'/%3E"
        "%3Cpath d='m8.5 13.5 2.5 2.5 4.5-4.5' fill='none'/%3E%3C/svg%3E"
    )


# White inside: in the light theme it stands on light ground, and on dark ground while its page is open.
_ICONS = {"icon": _icon("3f4650", "white"), "icon_dark_mode": _icon("d5dae1", "none")}


class MigrationReport(AirflowPlugin):
    """The routes below /migrations, and where the UI shows them; addresses are relative to Airflow's own."""

    name = "migration_report"
    fastapi_apps = [{"app": Site(), "url_prefix": "/migrations", "name": "Migration report"}]
    external_views = [
        {"name": "Migrations", "href": "migrations/", "destination": "nav", "url_route": "migrations", **_ICONS},
        {
            "name": "Migration report",
            "href": "migrations/run?dag_id={DAG_ID}&run_id={RUN_ID}",
            "destination": "dag_run",
            "url_route": "migration-report",
            **_ICONS,
        },
    ]

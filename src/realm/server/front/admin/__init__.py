"""Tenants, keys, adapters, programs and drafts over HTTP: for admins, and tenants for their own."""

from realm.server.front.admin.routes import routes

__all__ = ["routes"]

"""Runs the revisions on the connection that kms.store.migrate hands over; it opens none itself."""

from alembic import context

from kms.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

"""The statement wall: every statement is scoped between SQLAlchemy and the driver, or refused."""

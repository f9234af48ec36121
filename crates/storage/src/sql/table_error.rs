//! Why a flow cannot have the tables that it asks for.

/// Why a flow cannot have a table of its own, or tables of windows beside it. Names the table and the column at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableDesignError {
    /// The name is for our own tables.
    #[error("table {table}: names with hearthgate_ are for tables of our own; take another name")]
    ReservedName {
        /// The flow's table.
        table: String,
    },
    /// Another column has the name, perhaps in another case.
    #[error("table {table}: {column} can't be a column, the name is taken")]
    TakenColumn {
        /// The flow's table.
        table: String,
        /// The field, or the level of the topic.
        column: String,
    },
    /// The name is empty, too long, or holds a NUL.
    #[error("table {table}: {column:?} can't be a column; a name has 1 to {limit} bytes")]
    ColumnName {
        /// The flow's table.
        table: String,
        /// The field, or the level of the topic.
        column: String,
        /// The longest name, in bytes.
        limit: usize,
    },
    /// The schema names no field, or more than any database takes.
    #[error("table {table}: the schema has to name 1 to {limit} fields, it names {fields}")]
    FieldCount {
        /// The flow's table.
        table: String,
        /// How many there are, with the levels of the topic.
        fields: usize,
        /// How many are possible.
        limit: usize,
    },
    /// A column of windows is taken or too long.
    #[error("rollups: {column} can't be a column of {windows}; rename the field or the level")]
    WindowColumn {
        /// The table of windows.
        windows: String,
        /// The column.
        column: String,
    },
    /// No database takes a name of this length.
    #[error("rollups: {windows} is too long a name for a table; take a shorter one")]
    WindowName {
        /// The table of windows.
        windows: String,
    },
}
